//! Overlay networks: who reaches whom, and how networks come and go on the nodes.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use support::{Cluster, Container, eventually, get};

/// The page that `address` serves, fetched from within a container.
fn page(from: &Container, address: &str) -> Result<String, String> {
    from.in_network(|| get(address, 80)).map(|body| body.trim_end().to_owned())
}

/// A cluster of a manager and a worker with the network `net`, a web service on the worker and sleepers on the manager.
fn pair() -> Cluster {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.web("web", "--network net --constraint node.hostname==w1");
    cluster.sleepers("client", "--network net --constraint node.hostname==m1");
    cluster.wait_running("m1", "web", 1);
    cluster.wait_running("m1", "client", 1);
    cluster
}

#[test]
fn a_container_reaches_one_on_another_node_and_large_bodies_pass_both_ways() {
    let cluster = pair();
    let (client, web) = (cluster.container("client", "m1"), cluster.container("web", "w1"));
    let hostname = web.run("hostname").ok();
    eventually("the page comes from the other node", || page(&client, &web.address()));
    assert_eq!(page(&client, &web.address()), Ok(hostname));
    let listener = web.in_network(|| TcpListener::bind("0.0.0.0:9000")).unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut body = vec![0; 1 << 20];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(&body).unwrap();
        peer
    });
    let target = format!("{}:9000", web.address());
    let mut stream = client.in_network(|| TcpStream::connect(target)).unwrap();
    let sent: Vec<u8> = (0..1_u32 << 20).map(|n| n.wrapping_mul(31).to_le_bytes()[1]).collect();
    let (mut back, whole) = (stream.try_clone().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || stream.write_all(&whole).unwrap());
    let mut received = vec![0; sent.len()];
    back.read_exact(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent, "the same bytes come back");
    assert_eq!(echo.join().unwrap().ip().to_string(), client.address(), "the client's own address");
}

#[test]
fn the_virtual_address_is_balanced_over_all_tasks_on_all_nodes() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.web("web", "--network net --replicas 4");
    cluster.sleepers("client", "--network net --mode global");
    cluster.wait_running("m1", "web", 4);
    cluster.wait_running("m1", "client", 2);
    let names: BTreeSet<String> =
        cluster.containers_of("web").iter().map(|c| c.run("hostname").ok()).collect();
    assert_eq!(cluster.hosts_of("m1", "web"), ["m1", "m1", "w1", "w1"]);
    for node in ["m1", "w1"] {
        let client = cluster.container("client", node);
        let virtual_address = client.resolve("web").unwrap().pop_first().unwrap();
        eventually(&format!("all tasks answer on {node}"), || {
            let pages: Result<BTreeSet<String>, String> =
                (0..30).map(|_| page(&client, &virtual_address)).collect();
            let pages = pages?;
            if pages == names { Ok(()) } else { Err(format!("{pages:?} of {names:?}")) }
        });
    }
    // A task reaches its own service too, itself included.
    let web = cluster.container("web", "m1");
    let virtual_address = web.resolve("web").unwrap().pop_first().unwrap();
    let pages: BTreeSet<String> = (0..30).map(|_| page(&web, &virtual_address).unwrap()).collect();
    assert_eq!(pages, names);
}

#[test]
fn datagrams_to_the_virtual_address_reach_a_task_and_the_answer_returns() {
    let cluster = pair();
    let (client, web) = (cluster.container("client", "m1"), cluster.container("web", "w1"));
    let server = web.in_network(|| UdpSocket::bind("0.0.0.0:5000")).unwrap();
    let asker = client.in_network(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    asker.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let virtual_address = client.resolve("web").unwrap().pop_first().unwrap();
    asker.connect(format!("{virtual_address}:5000")).unwrap();
    let mut buffer = [0; 16];
    // Datagrams may be lost.
    eventually("an answer comes back", || {
        asker.send(b"ask").map_err(|e| e.to_string())?;
        let (length, from) = server.recv_from(&mut buffer).map_err(|e| e.to_string())?;
        assert_eq!(from.ip().to_string(), client.address());
        server.send_to(&buffer[..length], from).map_err(|e| e.to_string())?;
        // From another address than the virtual one, it would not arrive here.
        asker.recv(&mut buffer).map_err(|e| e.to_string())
    });
    assert_eq!(&buffer[..3], b"ask");
}

#[test]
fn networks_are_isolated_from_one_another_and_a_service_can_be_on_several() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create front && swarmctl network create back").ok();
    cluster.web("front", "--network front --constraint node.hostname==w1");
    cluster.web("back", "--network back --constraint node.hostname==w1");
    cluster.sleepers("outer", "--network front --constraint node.hostname==m1");
    cluster.sleepers("both", "--network front --network back --constraint node.hostname==m1");
    for service in ["front", "back", "outer", "both"] {
        cluster.wait_running("m1", service, 1);
    }
    let (outer, both) = (cluster.container("outer", "m1"), cluster.container("both", "m1"));
    let (front, back) = (cluster.container("front", "w1"), cluster.container("back", "w1"));
    for target in [&front, &back] {
        eventually("both networks are reached", || page(&both, &target.address()));
    }
    for service in ["front", "back"] {
        let address = both.resolve(service).unwrap().pop_first().unwrap();
        assert!(page(&both, &address).is_ok(), "{service} by its virtual address");
    }
    assert_eq!(both.addresses().len(), 2);
    eventually("its own network is reached", || page(&outer, &front.address()));
    // On the same node and across nodes, and as seen from a server that could answer.
    for target in [back.address(), both.addresses()[1].clone()] {
        let quick = format!("nc -w 2 {target} 80 </dev/null");
        assert_ne!(outer.run(&quick).code, Some(0), "{target}");
    }
    assert!(outer.resolve("back").is_err());
    assert_ne!(front.run(&format!("nc -w 2 {} 80 </dev/null", back.address())).code, Some(0));
}

#[test]
fn a_subnet_that_cannot_be_is_refused_and_a_chosen_one_is_kept_to() {
    let cluster = Cluster::with_busybox(1, 0);
    let create = |rest: &str| cluster.shell("m1", &format!("swarmctl network create {rest}"));
    create("--subnet 10.77.0.0/24 --gateway 10.77.0.1 mine").ok();
    let refused = create("--subnet 10.0.1.0/24 other").refused();
    assert!(refused.contains("overlaps") && refused.contains("network ingress"), "{refused}");
    let refused = create("mine").refused();
    assert!(refused.contains("mine already exists"), "{refused}");
    let refused = create("--subnet 10.78.0.0/24 --gateway 10.79.0.1 other").refused();
    assert_eq!(refused, "error: no matching subnet for gateway \"10.79.0.1\"");
    cluster.sleepers("it", "--network mine");
    cluster.wait_running("m1", "it", 1);
    let address = cluster.container("it", "m1").address();
    assert!(address.starts_with("10.77.0."), "{address}");
}

#[test]
fn containers_reach_the_world_outside_unless_their_network_is_internal() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.shell("m1", "swarmctl network create --internal inner").ok();
    cluster.sleepers("net", "--network net --constraint node.hostname==w1");
    cluster.sleepers("none", "--constraint node.hostname==w1");
    cluster.sleepers("inner", "--network inner --constraint node.hostname==w1");
    for service in ["net", "none", "inner"] {
        cluster.wait_running("m1", service, 1);
    }
    let outside = TcpListener::bind((cluster.lab().machine_address(), 0)).unwrap();
    let target = outside.local_addr().unwrap();
    for service in ["net", "none"] {
        let container = cluster.container(service, "w1");
        container
            .in_network(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))
            .unwrap();
        let (_, from) = outside.accept().unwrap();
        assert_eq!(from.ip().to_string(), cluster.address("w1"), "masqueraded: {service}");
    }
    let inner = cluster.container("inner", "w1");
    let limit = Duration::from_millis(1500);
    assert!(inner.in_network(|| TcpStream::connect_timeout(&target, limit)).is_err());
}

#[test]
fn a_task_on_the_network_host_has_the_node_s_own() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.web("host", "--network host --mode global");
    cluster.wait_running("m1", "host", 2);
    for node in ["m1", "w1"] {
        let container = cluster.container("host", node);
        assert!(container.addresses().contains(&cluster.address(node)), "{container:?}");
        let page = eventually("the node serves it", || get(&cluster.address(node), 80));
        assert_eq!(page.trim_end(), node, "its hostname is the node's as well");
    }
}

#[test]
fn a_network_says_what_it_is_and_is_not_removed_while_it_is_used() {
    let cluster = Cluster::with_busybox(1, 1);
    let traces = |node: &str| {
        let line = "ls /run/swarmd/net/net/network; ip -o link show type vxlan";
        cluster.on_host(node, line).stdout
    };
    let id = cluster.shell("m1", "swarmctl network create --label a=b net").ok();
    let format = "{{.Name}} {{.Driver}} {{.Scope}} {{.Encrypted}} {{.Labels.a}}";
    let line = format!("swarmctl network inspect --format '{format}' net");
    assert_eq!(cluster.shell("m1", &line).ok(), "net overlay swarm false b");
    let listed = cluster.shell("m1", "swarmctl network ls").ok();
    assert!(listed.contains("net ") && listed.contains("ingress"), "{listed}");
    assert!(!traces("m1").contains(&id), "made only where a task needs it");
    cluster.sleepers("user", "--network net --constraint node.hostname==w1");
    cluster.wait_running("m1", "user", 1);
    assert!(traces("w1").contains(&id), "{}", traces("w1"));
    assert!(!traces("m1").contains(&id), "{}", traces("m1"));
    let refused = cluster.shell("m1", "swarmctl network rm net").refused();
    assert!(refused.contains("net is in use") && refused.contains("user"), "{refused}");
    let refused = cluster.shell("m1", "swarmctl network rm host").refused();
    assert!(refused.contains("host is a pre-defined network"), "{refused}");
    cluster.shell("m1", "swarmctl service rm user").ok();
    eventually("the last task takes the network with it", || {
        let left = traces("w1");
        if left.contains(&id) { Err(left) } else { Ok(()) }
    });
    assert_eq!(cluster.shell("m1", "swarmctl network rm net").ok(), "net");
    let refused = cluster.shell("m1", "swarmctl network inspect net").stderr;
    assert!(refused.contains("network net not found"), "{refused}");
}
