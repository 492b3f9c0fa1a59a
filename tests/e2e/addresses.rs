//! Addresses of networks: both families, pools, subnets that grow or overlap, and what is left.

use std::collections::BTreeSet;

use support::{Cluster, Container, eventually, get};

/// The page that `address` serves, fetched from within a container.
fn page(from: &Container, address: &str) -> Result<String, String> {
    from.in_network(|| get(address, 80)).map(|body| body.trim_end().to_owned())
}

/// The IPv6 addresses that a name has in the container.
fn six(from: &Container, name: &str) -> Vec<String> {
    let answer = from.run(&format!("nslookup -type=aaaa {name}")).stdout;
    let (_, found) = answer.split_once("\n\n").unwrap_or_default();
    found.lines().filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned).collect()
}

fn ctl(cluster: &Cluster, line: &str) -> String {
    cluster.shell("m1", &format!("swarmctl {line}")).ok()
}

#[test]
fn a_network_with_ipv6_has_both_families_between_nodes() {
    let cluster = Cluster::with_busybox(1, 1);
    ctl(&cluster, "network create --ipv6 --opt encrypted=false net");
    cluster.web("web", "--network net --replicas 2");
    cluster.sleepers("client", "--network net --constraint node.hostname==m1");
    cluster.wait_running("m1", "web", 2);
    cluster.wait_running("m1", "client", 1);
    let client = cluster.container("client", "m1");
    let far = cluster.container("web", "w1");
    let name = far.run("hostname").ok();
    let tasks = eventually("both tasks have names", || match six(&client, "tasks.web") {
        found if found.len() == 2 => Ok(found),
        found => Err(format!("{found:?}")),
    });
    for address in &tasks {
        client.run(&format!("ping -6 -c 1 -W 3 {address}")).ok();
        eventually("the page comes by IPv6", || page(&client, address));
    }
    let pages: BTreeSet<String> = tasks.iter().map(|a| page(&client, a).unwrap()).collect();
    assert!(pages.len() == 2 && pages.contains(&name), "{pages:?}");
    eventually("the page comes by IPv4", || page(&client, &far.address()));
    let virtual_address = six(&client, "web");
    assert_eq!(virtual_address.len(), 1);
    let balanced: BTreeSet<String> =
        (0..10).map(|_| page(&client, &virtual_address[0]).unwrap()).collect();
    assert_eq!(balanced, pages, "the virtual address leads to both");
    let subnets = ctl(&cluster, "network inspect --format '{{json .IPAM.Config}}' net");
    assert!(subnets.contains("/64") && subnets.contains("\"fd"), "{subnets}");
    let shown = ctl(&cluster, "network inspect -v net");
    assert!(shown.contains(&format!("\"VIP6\": \"{}\"", virtual_address[0])), "{shown}");
    assert!(shown.contains("underlay 1500 (m1) - VXLAN 50 = 1450 -> overlay 1450"), "{shown}");
    assert!(shown.contains("\"Name\": \"w1\"") && shown.contains("\"EndpointIP6\""), "{shown}");
}

#[test]
fn a_full_network_says_so_and_grows_under_its_running_tasks() {
    let cluster = Cluster::with_busybox(1, 1);
    ctl(&cluster, "network create --subnet 10.77.0.0/29 --opt encrypted=false tiny");
    cluster.web("web", "--network tiny --replicas 4");
    // Gateway, service, and two nodes leave two.
    cluster.wait_running("m1", "web", 2);
    let waiting = cluster.wait_error("m1", "web", "no address is free");
    assert_eq!(
        waiting.error,
        "no address is free in network tiny (10.77.0.0/29, 6 of 6 in use): grow it with 'swarmctl \
         network update --add-subnet CIDR tiny', or remove services or tasks from it"
    );
    let before = cluster.containers_of("web");
    let addresses: BTreeSet<String> = before.iter().map(Container::address).collect();
    let free = ctl(&cluster, "network df --format '{{.Name}} {{.Size}} {{.Free}}' tiny");
    assert_eq!(free, "tiny 6 0");
    let said = ctl(&cluster, "network df --scale web=6 tiny");
    assert!(said.contains("web=6 takes up to 2 addresses of network tiny"), "{said}");
    assert!(said.contains("0 are free, 2 too few"), "{said}");
    assert_eq!(ctl(&cluster, "network update --add-subnet 10.78.0.0/24 tiny"), "tiny");
    cluster.wait_running("m1", "web", 4);
    let after = cluster.containers_of("web");
    assert!(before.iter().all(|c| after.iter().any(|a| a.task == c.task && a.pid == c.pid)));
    let now: BTreeSet<String> = after.iter().map(Container::address).collect();
    assert!(now.is_superset(&addresses), "{addresses:?} {now:?}");
    assert!(now.iter().any(|address| address.starts_with("10.78.0.")), "{now:?}");
    for from in &after {
        for to in &now {
            eventually(&format!("{} reaches {to}", from.task), || page(from, to));
        }
    }
    let refused = cluster.shell("m1", "swarmctl network update --subnet 10.99.0.0/16 tiny");
    assert!(refused.refused().contains("contains none of the network's subnets"));
}

#[test]
fn networks_with_the_same_subnet_are_apart() {
    let cluster = Cluster::with_busybox(1, 1);
    for network in ["red", "blue"] {
        let line = format!(
            "swarmctl network create --subnet 10.77.0.0/24 --opt encrypted=false {network}"
        );
        let said = cluster.shell("m1", &line);
        let warned = said.stderr.contains("no service can be on both");
        assert_eq!(warned, network == "blue", "{said:#?}");
        said.ok();
        cluster.web(network, &format!("--network {network} --constraint node.hostname==w1"));
        cluster.sleepers(
            &format!("{network}-client"),
            &format!("--network {network} --constraint node.hostname==m1"),
        );
    }
    for network in ["red", "blue"] {
        cluster.wait_running("m1", network, 1);
        cluster.wait_running("m1", &format!("{network}-client"), 1);
        let client = cluster.container(&format!("{network}-client"), "m1");
        let web = cluster.container(network, "w1");
        let seen = eventually("its own network answers", || page(&client, &web.address()));
        assert_eq!(seen, web.run("hostname").ok(), "{network}");
    }
    let (red, blue) = (cluster.container("red", "w1"), cluster.container("blue", "w1"));
    assert_eq!(red.address(), blue.address(), "the same address, in two worlds");
    let line = "swarmctl service create -d --network red --network blue busybox sleep 9";
    let refused = cluster.shell("m1", line).refused();
    assert!(refused.contains("red") && refused.contains("blue"), "{refused}");
}

#[test]
fn networks_are_listed_pruned_and_not_connected_to_by_hand() {
    let cluster = Cluster::with_busybox(1, 0);
    for line in ["--label a=b one", "--attachable two", "--label a=b three"] {
        ctl(&cluster, &format!("network create --opt encrypted=false {line}"));
    }
    cluster.sleepers("user", "--network three");
    let names = |filter: &str| {
        let line = format!("network ls {filter} --format '{{{{.Name}}}}'");
        ctl(&cluster, &line).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(names("-f type=builtin").contains(&"ingress".to_owned()));
    assert_eq!(names("-f type=custom"), ["one", "three", "two"]);
    assert_eq!(names("-f dangling=true"), ["one", "two"]);
    assert_eq!(names("-f label=a=b -f name=th"), ["three"]);
    let refused = cluster.shell("m1", "swarmctl network connect two c1").refused();
    assert!(refused.contains("service update --network-add two"), "{refused}");
    let said = ctl(&cluster, "network prune -f --filter label=a");
    assert_eq!(said, "Deleted Networks:\none");
    assert_eq!(ctl(&cluster, "network prune -f"), "Deleted Networks:\ntwo");
    assert_eq!(names("-f type=custom"), ["three"]);
    let refused = cluster.shell("m1", "swarmctl network create --opt mtu=9000 wide").refused();
    assert!(refused.contains("mtu 9000 is out of range") && refused.contains("1450"), "{refused}");
    let refused = cluster.shell("m1", "swarmctl network create bridge").refused();
    assert!(refused.contains("not permitted on predefined bridge network"), "{refused}");
}

#[test]
fn pools_are_the_clusters_own_and_an_empty_one_is_a_reason() {
    let cluster = Cluster::apart(1);
    let init = "swarmctl init --default-addr-pool 10.20.0.0/23 --default-addr-pool-mask-length";
    let refused = cluster.shell("m1", &format!("{init} 30")).refused();
    assert!(refused.contains("subnet size is out of range"), "{refused}");
    let refused = cluster.shell("m1", &format!("{init} 20")).refused();
    assert!(refused.contains("Subnet size 20 is too small for pool"), "{refused}");
    cluster.shell("m1", &format!("{init} 24")).ok();
    cluster.load_busybox("m1");
    let info = ctl(&cluster, "info");
    assert!(info.contains("Default Address Pools:\n  10.20.0.0/23, a /24 each"), "{info}");
    ctl(&cluster, "network create --opt encrypted=false second");
    eventually("the second subnet is given", || {
        let line = "network inspect --format '{{json .IPAM.Config}}' second";
        let shown = ctl(&cluster, line);
        if shown.contains("10.20.1.0/24") { Ok(()) } else { Err(shown) }
    });
    let df = ctl(&cluster, "network df");
    let pool = df.lines().find(|line| line.starts_with("10.20.0.0/23")).unwrap();
    let fields: Vec<&str> = pool.split_whitespace().collect();
    assert_eq!(fields[1..], ["/24", "2", "2", "0"], "{df}");
    ctl(&cluster, "network create --opt encrypted=false third");
    cluster.sleepers("lost", "--network third");
    let waiting = cluster.wait_error("m1", "lost", "no subnet is free for network third");
    assert!(waiting.error.contains("pool 10.20.0.0/23, /24 each"), "{waiting:?}");
}
