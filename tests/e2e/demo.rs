//! The demo stack, as the quickstart brings it up: nginx, three web tasks, redis on a volume.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Cluster, Outcome, binary, eventually, get};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent")
}

/// The demo's images, made from Debian's packages where that has not been done yet.
fn images() -> PathBuf {
    let folder = workspace().join("target/images/demo");
    let mut make = Command::new("sh");
    make.arg(workspace().join("deploy/demo/images.sh")).arg(&folder).arg(binary("demo-web"));
    Outcome::of(&mut make).ok();
    folder
}

/// What follows `key` on a line of the page.
fn field(page: &str, key: &str) -> String {
    let line = page.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key:?} in {page:?}")).trim().to_owned()
}

fn visits(page: &str) -> u64 {
    let text = field(page, "visits: ");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{page}"))
}

#[test]
fn the_demo_stack_serves_its_page_through_every_node_and_keeps_its_count() {
    let cluster = Cluster::new(3, 0);
    let folder = images();
    for image in ["nginx", "redis", "web"] {
        let archive = folder.join(format!("{image}.tar"));
        cluster.shell("m1", &format!("swarmctl image load -q -i {}", archive.display())).ok();
    }
    let deploy = "swarmctl stack deploy -q -c deploy/demo/compose.yaml demo";
    Outcome::of(cluster.shell_command("m1", deploy).current_dir(workspace())).ok();
    let services = "swarmctl stack services --format '{{.Name}} {{.Replicas}}' demo";
    let services = cluster.shell("m2", services).ok();
    assert_eq!(services, "demo_nginx 1/1\ndemo_redis 1/1\ndemo_web 3/3");
    assert_eq!(cluster.hosts_of("m1", "demo_web"), ["m1", "m2", "m3"]);
    let front = cluster.hosts_of("m1", "demo_nginx");
    let other = ["m1", "m2", "m3"].into_iter().find(|node| front != [*node]).unwrap();
    let address = cluster.address(other);
    let first = eventually("the page comes through a node without nginx", || get(&address, 8080));
    let mut served = BTreeSet::from([field(&first, "task: ")]);
    let mut before = visits(&first);
    eventually("all three web tasks have served", || {
        let page = get(&address, 8080)?;
        assert!(visits(&page) > before, "{page}");
        before = visits(&page);
        served.insert(field(&page, "task: "));
        if served.len() == 3 { Ok(()) } else { Err(format!("{served:?}")) }
    });
    let web: BTreeSet<String> =
        cluster.containers_of("demo_web").into_iter().map(|c| c.task).collect();
    assert_eq!(served, web);
    let store = cluster.hosts_of("m1", "demo_redis");
    let pin = format!(
        "swarmctl service update -q --force --constraint-add node.hostname=={} demo_redis",
        store[0]
    );
    let old = cluster.containers_of("demo_redis");
    cluster.shell("m1", &pin).ok();
    let new = cluster.containers_of("demo_redis");
    assert_ne!(old[0].task, new[0].task, "another task, on the same volume");
    eventually("the count goes on where it was", || {
        let page = get(&address, 8080)?;
        if page.contains("unknown") {
            return Err(page);
        }
        assert!(visits(&page) > before, "{page}");
        Ok(())
    });
    let log = cluster.shell("m3", "swarmctl service logs demo_web").ok();
    assert!(log.contains("listens on port 8000"), "{log}");
    cluster.shell("m1", "swarmctl stack rm demo").ok();
    assert_eq!(cluster.shims(), [0; 0]);
}
