//! Containers reach each other, directly and by virtual address.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpStream;

use super::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn containers_on_two_hosts_talk_and_see_each_others_addresses() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 11), (1, 12)];
    world.apply(1, &all, |_| {}).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    let c = world.container(1, 1, 12, vec![]).await;
    serve_tcp(&b, 80, "b").await;
    serve_udp(&b, 53, "b").await;
    for from in [&a, &c] {
        let own = if std::ptr::eq(from, &a) { "b 10.0.1.10" } else { "b 10.0.1.12" };
        assert_eq!(ask_tcp(from, (address(1, 11), 80)).await.unwrap(), own);
        assert_eq!(ask_udp(from, (address(1, 11), 53)).await.unwrap(), own);
    }
    // An address nobody has is refused at once.
    let refused = ask_tcp(&a, (address(1, 99), 80)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_address_spreads_connections_and_keeps_the_clients_address() {
    let world = World::new(2).await;
    let all = [(0, 10), (0, 11), (1, 12)];
    world.apply(1, &all, |table| table.services = vec![vip(1, 5, &[11, 12])]).await;
    let client = world.container(0, 1, 10, vec![]).await;
    for (host, last) in [(0, 11), (1, 12)] {
        let ns = world.container(host, 1, last, vec![]).await;
        serve_tcp(&ns, 80, &format!("{last}")).await;
        serve_udp(&ns, 53, &format!("{last}")).await;
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..20 {
        *answers.entry(ask_tcp(&client, (address(1, 5), 80)).await.unwrap()).or_default() += 1;
        *answers.entry(ask_udp(&client, (address(1, 5), 53)).await.unwrap()).or_default() += 1;
    }
    let even = BTreeMap::from([("11 10.0.1.10".to_owned(), 20), ("12 10.0.1.10".to_owned(), 20)]);
    assert_eq!(answers, even, "{}", ruleset(&client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_reaches_itself_by_its_services_address() {
    let world = World::new(1).await;
    world.apply(1, &[], |table| table.services = vec![vip(1, 5, &[10])]).await;
    let only = world.container(0, 1, 10, vec![]).await;
    serve_tcp(&only, 80, "me").await;
    assert_eq!(ask_tcp(&only, (address(1, 5), 80)).await.unwrap(), "me 10.0.1.200");
    serve_udp(&only, 53, "me").await;
    assert_eq!(ask_udp(&only, (address(1, 5), 53)).await.unwrap(), "me 10.0.1.200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_backends_refuses_at_once() {
    let world = World::new(1).await;
    world.apply(1, &[], |table| table.services = vec![vip(1, 5, &[])]).await;
    let client = world.container(0, 1, 10, vec![]).await;
    for _ in 0..20 {
        let tcp = ask_tcp(&client, (address(1, 5), 80)).await.unwrap_err();
        assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused, "{tcp}");
        let udp = ask_udp(&client, (address(1, 5), 53)).await.unwrap_err();
        assert_eq!(udp.kind(), ErrorKind::ConnectionRefused, "{udp}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_keeps_flows_and_death_moves_them() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 11), (1, 12)];
    let serve = |world: &World, backends: &'static [u8], all: &'static [(usize, u8)]| {
        let mut table = world.table(1, 0, all);
        table.services = vec![vip(1, 5, backends)];
        table
    };
    world.apply(1, &all, |_| {}).await;
    let client = world.container(0, 1, 10, vec![]).await;
    for last in [11, 12] {
        let ns = world.container(1, 1, last, vec![]).await;
        serve_echo(&ns, 80).await;
        serve_udp(&ns, 53, &format!("{last}")).await;
    }
    let here = &world.hosts[0].net;
    here.apply(serve(&world, &[11], &[(1, 11), (1, 12)])).await.unwrap();
    let to = (address(1, 5), 80);
    let mut stream = client.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    echo(&mut stream).unwrap();
    let socket = udp(&client, (address(1, 5), 53)).await;
    assert_eq!(exchange(&socket).unwrap(), "11 10.0.1.10");
    // Out of the backends, still an endpoint: draining.
    here.apply(serve(&world, &[12], &[(1, 11), (1, 12)])).await.unwrap();
    assert_eq!(exchange(&socket).unwrap(), "11 10.0.1.10");
    echo(&mut stream).unwrap();
    assert_eq!(ask_udp(&client, (address(1, 5), 53)).await.unwrap(), "12 10.0.1.10");
    // No endpoint any more: dead.
    here.apply(serve(&world, &[12], &[(1, 12)])).await.unwrap();
    assert_eq!(exchange(&socket).unwrap(), "12 10.0.1.10");
    let reset = echo(&mut stream).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
    // The same by hand.
    let cut = here.flush_backend("net1", address(1, 12)).await.unwrap();
    assert!(cut >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_with_the_same_subnet_do_not_meet() {
    let world = World::new(2).await;
    for (id, vni) in [("red", 5001), ("blue", 5002)] {
        for (at, host) in world.hosts.iter().enumerate() {
            let mut table = world.table(1, at, &[(0, 10), (1, 20)]);
            (table.id, table.vni) = (id.to_owned(), vni);
            host.net.apply(table).await.unwrap();
        }
    }
    let mut inside = vec![];
    for id in ["red", "blue"] {
        for (host, last) in [(0, 10), (1, 20)] {
            let attachment =
                crate::Attachment { network_id: id.to_owned(), address: address(1, last).into() };
            let name = format!("{id}{last}");
            let net = &world.hosts[host].net;
            let made = net.create_sandbox(&name, vec![attachment], vec![]).await.unwrap();
            let ns = crate::netns::NetNs::open(&made.netns).unwrap();
            if last == 20 {
                serve_tcp(&ns, 80, id).await;
            } else {
                inside.push((id, ns));
            }
        }
    }
    for (id, ns) in &inside {
        let answer = ask_tcp(ns, (address(1, 20), 80)).await.unwrap();
        assert_eq!(answer, format!("{id} 10.0.1.10"));
    }
}
