//! Published ports: on every node, or on the nodes of the tasks.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Cluster, eventually, get};

/// What `address:port` serves, as asked for on a node itself.
fn local(cluster: &Cluster, node: &str, address: &str, port: u16) -> Result<String, String> {
    cluster.lab().in_network(node, || get(address, port)).map_err(|error| error.to_string())?
}

/// Whether nothing answers at all.
fn is_closed(address: &str, port: u16) -> Result<(), String> {
    match TcpStream::connect_timeout(
        &format!("{address}:{port}").parse().unwrap(),
        Duration::from_secs(1),
    ) {
        Ok(_) => Err(format!("{address}:{port} is open")),
        Err(_) => Ok(()),
    }
}

fn hostnames(cluster: &Cluster, service: &str) -> BTreeSet<String> {
    cluster.containers_of(service).iter().map(|c| c.run("hostname").ok()).collect()
}

#[test]
fn a_published_port_answers_on_every_node_from_outside_and_from_within() {
    let cluster = Cluster::with_busybox(1, 2);
    cluster.web("web", "--publish 8080:80 --replicas 2 --constraint node.hostname!=w2");
    cluster.wait_running("m1", "web", 2);
    let names = hostnames(&cluster, "web");
    for node in ["m1", "w1", "w2"] {
        let address = cluster.address(node);
        eventually(&format!("all tasks answer through {node}"), || {
            let pages: Result<BTreeSet<String>, String> =
                (0..12).map(|_| get(&address, 8080).map(|p| p.trim_end().to_owned())).collect();
            let pages = pages?;
            if pages == names { Ok(()) } else { Err(format!("{pages:?} of {names:?}")) }
        });
        for own in [address.as_str(), "127.0.0.1"] {
            let page = local(&cluster, node, own, 8080);
            assert!(page.is_ok(), "{own} on {node} itself: {page:?}");
        }
        // From another host of the cluster.
        let other = if node == "m1" { "w1" } else { "m1" };
        local(&cluster, other, &address, 8080).unwrap();
    }
    let listed = "swarmctl service ls --format '{{.Ports}}'";
    assert_eq!(cluster.shell("m1", listed).ok(), "*:8080->80/tcp");
}

#[test]
fn a_host_mode_port_is_open_only_where_a_task_runs_and_on_the_address_it_names() {
    let cluster = Cluster::with_busybox(1, 1);
    let publish = "--publish mode=host,published=8082,target=80";
    cluster.web("web", &format!("{publish} --constraint node.hostname==w1"));
    cluster.wait_running("m1", "web", 1);
    eventually("the task's node answers", || get(&cluster.address("w1"), 8082));
    local(&cluster, "w1", "127.0.0.1", 8082).unwrap();
    is_closed(&cluster.address("m1"), 8082).unwrap();
    let ports = "swarmctl service ps --format '{{.Ports}}' web";
    assert_eq!(cluster.shell("m1", ports).ok(), "*:8082->80/tcp");
    let publish = "--publish mode=host,published=8083,target=80,host_ip=127.0.0.1";
    cluster.web("inner", &format!("{publish} --constraint node.hostname==w1"));
    cluster.wait_running("m1", "inner", 1);
    eventually("the named address answers", || local(&cluster, "w1", "127.0.0.1", 8083));
    is_closed(&cluster.address("w1"), 8083).unwrap();
    cluster.shell("m1", "swarmctl service rm web inner").ok();
    eventually("the port is closed again", || is_closed(&cluster.address("w1"), 8082));
}

#[test]
fn a_port_that_is_not_named_is_chosen_and_every_port_is_free_again_after_its_service() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster.web("any", "--publish 80");
    cluster.web("fixed", "--publish 8084:80");
    cluster.wait_running("m1", "any", 1);
    cluster.wait_running("m1", "fixed", 1);
    let listed = "swarmctl service ls --format '{{.Ports}}' --filter name=any";
    let shown = cluster.shell("m1", listed).ok();
    let port: u16 = shown.split([':', '-']).nth(1).unwrap().parse().unwrap();
    assert!((30_000..=32_767).contains(&port), "{shown}");
    assert_eq!(shown, format!("*:{port}->80/tcp"));
    eventually("the chosen port answers", || get(&cluster.address("m1"), port));
    let again = "swarmctl service create -d --name again --publish 8084:80 busybox sleep 1";
    let refused = cluster.shell("m1", again).refused();
    assert!(refused.contains("8084") && refused.contains("fixed"), "{refused}");
    cluster.shell("m1", "swarmctl service rm any fixed").ok();
    for port in [port, 8084] {
        eventually("it is closed", || is_closed(&cluster.address("m1"), port));
    }
    cluster.web("again", "--publish 8084:80");
    cluster.wait_running("m1", "again", 1);
    eventually("another service has it", || get(&cluster.address("m1"), 8084));
}

#[test]
fn ports_are_published_and_unpublished_while_the_service_runs() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster.web("web", "--update-monitor 1ms");
    cluster.wait_running("m1", "web", 1);
    is_closed(&cluster.address("m1"), 8085).unwrap();
    cluster.shell("m1", "swarmctl service update -q --publish-add 8085:80 web").ok();
    eventually("it is open", || get(&cluster.address("m1"), 8085));
    cluster.shell("m1", "swarmctl service update -q --publish-rm 80 web").ok();
    eventually("it is closed", || is_closed(&cluster.address("m1"), 8085));
}

#[test]
fn requests_are_answered_without_a_gap_while_tasks_move() {
    let cluster = Cluster::with_busybox(1, 2);
    let create = "swarmctl service create -d --name web --publish 8086:80 --replicas 2 \
                  --update-order start-first --update-monitor 1ms \
                  --health-cmd 'wget -qO- http://127.0.0.1/' --health-interval 200ms \
                  busybox sh -c 'mkdir -p /w; hostname >/w/index.html; \
                  trap \"sleep 1; exit 0\" TERM; httpd -f -p 80 -h /w & wait'";
    cluster.shell("m1", create).ok();
    cluster.wait_running("m1", "web", 2);
    let addresses = ["m1", "w1", "w2"].map(|node| cluster.address(node));
    eventually("every node answers", || {
        addresses.iter().try_for_each(|address| get(address, 8086).map(drop))
    });
    let stop = AtomicBool::new(false);
    let (asked, failed) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, mut failed) = (0, Vec::new());
            for address in addresses.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                asked += 1;
                failed.extend(get(address, 8086).err());
            }
            (asked, failed)
        });
        let update = cluster.shell("m1", "swarmctl service update -q --force web");
        let gone = std::panic::catch_unwind(AssertUnwindSafe(|| {
            eventually("the old tasks are gone", || {
                let left = cluster.containers_of("web").len();
                if left == 2 { Ok(()) } else { Err(format!("{left}")) }
            });
        }));
        // Also after a panic, or the other thread would ask for ever.
        stop.store(true, Ordering::Relaxed);
        gone.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        update.ok();
        asking.join().unwrap()
    });
    assert!(asked > 20, "{asked}");
    assert!(failed.is_empty(), "{} of {asked} failed: {failed:?}", failed.len());
}
