//! Ways out and ways in: egress, published ports, host ports, name server sockets.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use super::world::*;
use crate::error::NetError;
use crate::table::{HostPort, Protocol};

#[tokio::test(flavor = "multi_thread")]
async fn containers_reach_the_world_masqueraded_unless_their_network_is_internal() {
    let world = World::new(1).await;
    serve_tcp(&world.client, 80, "world").await;
    serve_tcp(&world.hosts[0].ns, 81, "host").await;
    world.apply(1, &[], |_| {}).await;
    world.apply(2, &[], |table| table.internal = true).await;
    world.apply(3, &[], |_| {}).await;
    let open = world.container(0, 1, 10, vec![]).await;
    let inner = world.container(0, 2, 20, vec![]).await;
    let other = world.container(0, 3, 30, vec![]).await;
    serve_tcp(&other, 80, "other").await;
    assert_eq!(ask_tcp(&open, (underlay(99), 80)).await.unwrap(), "world 192.0.2.1");
    assert!(ask_tcp(&open, (underlay(0), 81)).await.unwrap().starts_with("host 169.254."));
    assert!(ask_tcp(&inner, (underlay(99), 80)).await.is_err());
    assert!(ask_tcp(&open, (address(3, 30), 80)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_on_every_node_from_everywhere() {
    let world = World::new(3).await;
    let all = [(0, 11), (1, 12)];
    let ports = vec![published(Protocol::Tcp, 8080, 80), published(Protocol::Udp, 5353, 53)];
    world
        .apply(9, &all, |table| {
            table.ingress = true;
            table.services = vec![vip(9, 5, &[11, 12])];
        })
        .await;
    world.apply(1, &[], |_| {}).await;
    for host in &world.hosts {
        host.net.set_ingress(ports.clone()).await.unwrap();
    }
    for (host, last) in [(0, 11), (1, 12)] {
        let ns = world.container(host, 9, last, vec![]).await;
        serve_tcp(&ns, 80, "web").await;
        serve_udp(&ns, 53, "dns").await;
    }
    let inside = world.container(2, 1, 30, vec![]).await;
    for at in 0..3 {
        let host = &world.hosts[at];
        let loopback = Ipv4Addr::LOCALHOST;
        // What has no address of its own outside of its node is seen as the node's own link.
        let inner = if at == 2 { "169.254.128." } else { "192.0.2.3" };
        // Once for each backend.
        for _ in 0..2 {
            for (from, to, seen) in [
                (&world.client, underlay(at), "192.0.2.100"),
                (&host.ns, underlay(at), &underlay(at).to_string()),
                (&host.ns, loopback, "169.254.128."),
                (&inside, underlay(at), inner),
            ] {
                let tcp = ask_tcp(from, (to, 8080)).await;
                let rules = ruleset(&host.ns).await;
                let tcp = tcp.unwrap();
                assert!(tcp.starts_with(&format!("web {seen}")), "{tcp} {to} {rules}");
                let udp = ask_udp(from, (to, 5353)).await.unwrap();
                assert!(udp.starts_with(&format!("dns {seen}")), "{udp} {to}");
            }
        }
    }
    world.hosts[2].net.set_ingress(vec![]).await.unwrap();
    let gone = ask_tcp(&world.client, (underlay(2), 8080)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused, "{gone}");
    ask_tcp(&world.client, (underlay(1), 8080)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_passes_every_way_unharmed() {
    let world = World::new(2).await;
    let change = |table: &mut crate::NetworkTable| {
        table.ingress = table.id == "net9";
        let last = table.id.strip_prefix("net").unwrap().parse().unwrap();
        table.services = vec![vip(last, 5, &[11])];
    };
    world.apply(9, &[(1, 11)], change).await;
    world.apply(1, &[(0, 10), (1, 12)], |_| {}).await;
    let net = &world.hosts[0].net;
    net.set_ingress(vec![published(Protocol::Tcp, 8080, 80)]).await.unwrap();
    let a = world.container(0, 1, 10, vec![]).await;
    for (net, last) in [(9, 11), (1, 12)] {
        serve_echo(&world.container(1, net, last, vec![]).await, 80).await;
    }
    let ways = [(&a, address(1, 12), 80), (&world.client, underlay(0), 8080)];
    for (from, to, port) in ways {
        from.run(move || megabyte((to, port).into())).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_one_node_needs_no_tunnel() {
    let world = World::new(1).await;
    serve_tcp(&world.client, 80, "world").await;
    let mut table = world.table(1, 0, &[]);
    (table.vni, table.node_address) = (0, table.gateway);
    let net = &world.hosts[0].net;
    assert_eq!(net.apply(table.clone()).await.unwrap().mtu, 1500);
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(0, 1, 11, vec![host_port(8080, 80, Protocol::Tcp)]).await;
    serve_tcp(&b, 80, "b").await;
    assert_eq!(ask_tcp(&a, (address(1, 11), 80)).await.unwrap(), "b 10.0.1.10");
    assert_eq!(ask_tcp(&a, (underlay(99), 80)).await.unwrap(), "world 192.0.2.1");
    assert_eq!(ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap(), "b 192.0.2.100");
    assert_eq!(net.apply(table).await.unwrap().changes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_without_tasks_refuses_and_a_udp_client_is_picked_up_later() {
    let world = World::new(1).await;
    let early = udp(&world.client, (underlay(0), 5353)).await;
    assert!(exchange(&early).is_err());
    let apply = |backends: &'static [u8]| {
        world.apply(9, &[], move |table| {
            table.ingress = true;
            table.services = vec![vip(9, 5, backends)];
        })
    };
    apply(&[]).await;
    let net = &world.hosts[0].net;
    let ports = vec![published(Protocol::Tcp, 8080, 80), published(Protocol::Udp, 5353, 53)];
    net.set_ingress(ports).await.unwrap();
    let refused = ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    let ns = world.container(0, 9, 11, vec![]).await;
    serve_udp(&ns, 53, "dns").await;
    apply(&[11]).await;
    assert_eq!(exchange(&early).unwrap(), "dns 192.0.2.100");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_ports_keep_the_clients_address_and_honour_the_host_address() {
    let world = World::new(1).await;
    world.apply(1, &[], |_| {}).await;
    let on = |ip: IpAddr, published| HostPort {
        host_ip: Some(ip),
        ..host_port(published, 80, Protocol::Tcp)
    };
    let wide = vec![host_port(8080, 80, Protocol::Tcp), host_port(5353, 53, Protocol::Udp)];
    let a = world.container(0, 1, 10, wide).await;
    let b = world.container(0, 1, 11, vec![on(Ipv4Addr::LOCALHOST.into(), 8081)]).await;
    let c = world.container(0, 1, 12, vec![on(underlay(0).into(), 8081)]).await;
    for (ns, tag) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        serve_tcp(ns, 80, tag).await;
    }
    serve_udp(&a, 53, "a").await;
    let (host, client) = (&world.hosts[0].ns, &world.client);
    assert_eq!(ask_tcp(client, (underlay(0), 8080)).await.unwrap(), "a 192.0.2.100");
    assert_eq!(ask_udp(client, (underlay(0), 5353)).await.unwrap(), "a 192.0.2.100");
    assert_eq!(ask_tcp(host, (underlay(0), 8080)).await.unwrap(), "a 192.0.2.1");
    assert!(ask_tcp(host, (Ipv4Addr::LOCALHOST, 8080)).await.unwrap().starts_with("a 169.254."));
    assert!(ask_tcp(&b, (underlay(0), 8080)).await.unwrap().starts_with("a 169.254."));
    assert!(ask_tcp(&a, (underlay(0), 8080)).await.unwrap().starts_with("a 169.254."));
    assert!(ask_tcp(host, (Ipv4Addr::LOCALHOST, 8081)).await.unwrap().starts_with("b "));
    assert_eq!(ask_tcp(client, (underlay(0), 8081)).await.unwrap(), "c 192.0.2.100");
    // Gone with its container.
    world.hosts[0].net.delete_sandbox("c10").await.unwrap();
    let gone = ask_tcp(client, (underlay(0), 8080)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused, "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_port_in_use_names_both_and_an_ephemeral_one_is_told() {
    let world = World::new(1).await;
    world.apply(1, &[], |_| {}).await;
    let net = &world.hosts[0].net;
    serve_tcp(&world.hosts[0].ns, 7000, "process").await;
    let _a = world.container(0, 1, 10, vec![host_port(8080, 80, Protocol::Tcp)]).await;
    for (published, holder) in [(8080, "sandbox c10"), (7000, "a process of the host")] {
        let attachment =
            crate::Attachment { network_id: "net1".to_owned(), address: address(1, 11).into() };
        let ports = vec![host_port(published, 80, Protocol::Tcp)];
        let error = net.create_sandbox("c11", vec![attachment], ports).await.unwrap_err();
        assert!(matches!(error, NetError::PortTaken { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("sandbox c11") && text.contains(holder), "{text}");
    }
    let attachment =
        crate::Attachment { network_id: "net1".to_owned(), address: address(1, 11).into() };
    let ports = vec![host_port(0, 80, Protocol::Tcp)];
    let made = net.create_sandbox("c11", vec![attachment], ports).await.unwrap();
    let chosen = made.host_ports[0].published;
    let ns = crate::netns::NetNs::open(&made.netns).unwrap();
    serve_tcp(&ns, 80, "late").await;
    let answer = ask_tcp(&world.client, (underlay(0), chosen)).await.unwrap();
    assert_eq!(answer, "late 192.0.2.100");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_served_inside_a_sandbox_by_sockets_of_the_daemon() {
    let world = World::new(1).await;
    world.apply(1, &[], |_| {}).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let (socket, listener) = world.hosts[0].net.dns_sockets("c10").await.unwrap();
    let at = socket.local_addr().unwrap();
    assert_eq!(at, listener.local_addr().unwrap());
    assert_eq!(at.to_string(), "127.0.0.11:53");
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    let served = tokio::spawn(async move {
        let (_, from) = socket.recv_from(&mut [0; 16]).await.unwrap();
        socket.send_to(b"10.0.1.5", from).await.unwrap();
    });
    assert_eq!(ask_udp(&a, at).await.unwrap(), "10.0.1.5");
    served.await.unwrap();
    let missing = world.hosts[0].net.dns_sockets("c99").await.unwrap_err();
    assert!(matches!(missing, NetError::UnknownSandbox(_)), "{missing}");
}
