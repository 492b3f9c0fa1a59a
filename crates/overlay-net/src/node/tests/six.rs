//! IPv6 beside IPv4, and networks that grow while containers run.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use tokio::io::AsyncWriteExt;

use super::world::*;
use crate::link::Links;
use crate::netns::NetNs;
use crate::table::{Attachment, NetworkTable, Six};

fn six(net: u8) -> Six {
    let subnet = format!("fd00:{net}::/64").parse().unwrap();
    Six { subnet, gateway: format!("fd00:{net}::1").parse().unwrap() }
}

fn with_six(table: &mut NetworkTable) {
    let net = table.id.strip_prefix("net").unwrap().parse().unwrap();
    table.six = Some(six(net));
}

fn at(net: u8, last: u8) -> Ipv6Addr {
    six(net).of(address(net, last))
}

/// Answers every IPv6 connection with `<tag> <address of the client>`.
async fn serve(ns: &NetNs, port: u16, tag: &str) {
    let bind = move || {
        let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let listener = tokio::net::TcpListener::from_std(ns.run(bind).await.unwrap()).unwrap();
    let tag = tag.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            let from = from.ip().to_canonical();
            let _ = stream.write_all(format!("{tag} {from}").as_bytes()).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_have_both_families_within_and_across_hosts() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 11), (1, 12)];
    world.apply(1, &all, with_six).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    let c = world.container(1, 1, 12, vec![]).await;
    serve(&b, 80, "b").await;
    for (from, last) in [(&a, 10), (&c, 12)] {
        let four = ask_tcp(from, (address(1, 11), 80)).await.unwrap();
        assert_eq!(four, format!("b {}", address(1, last)));
        let six = ask_tcp(from, (at(1, 11), 80)).await.unwrap();
        assert_eq!(six, format!("b {}", at(1, last)));
    }
    // An address nobody has is refused at once.
    let refused = ask_tcp(&a, (at(1, 99), 80)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable, "{refused}");
    // There is no way out, and that is said at once.
    let out = ask_tcp(&a, ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), 80)).await.unwrap_err();
    assert_eq!(out.kind(), ErrorKind::NetworkUnreachable, "{out}");
    let mut table = world.table(1, 0, &all);
    with_six(&mut table);
    assert_eq!(world.hosts[0].net.apply(table).await.unwrap().changes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_addresses_lead_to_the_same_backends_in_both_families() {
    let world = World::new(2).await;
    let all = [(0, 10), (0, 11), (1, 12)];
    let services = |backends: &'static [u8]| {
        move |table: &mut NetworkTable| {
            with_six(table);
            table.services = vec![vip(1, 5, backends), vip(1, 6, &[])];
        }
    };
    world.apply(1, &all, services(&[11, 12])).await;
    let client = world.container(0, 1, 10, vec![]).await;
    let mut servers = vec![];
    for (host, last) in [(0, 11), (1, 12)] {
        let ns = world.container(host, 1, last, vec![]).await;
        serve(&ns, 80, &format!("{last}")).await;
        servers.push(ns);
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..20 {
        let answer = ask_tcp(&client, (at(1, 5), 80)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        *answers.entry(answer).or_default() += 1;
    }
    let even = [11, 12].map(|last| (format!("{last} {}", at(1, 10)), 10));
    assert_eq!(answers, BTreeMap::from(even));
    let empty = ask_tcp(&client, (at(1, 6), 80)).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::ConnectionRefused, "{empty}");
    // One more, and one less, by the difference only.
    world.apply(1, &all, services(&[11])).await;
    for _ in 0..4 {
        let answer = ask_tcp(&client, (at(1, 5), 80)).await.unwrap();
        assert_eq!(answer, format!("11 {}", at(1, 10)));
    }
    // A container that is its own backend sees the node's address.
    let own = ask_tcp(&servers[0], (at(1, 5), 80)).await.unwrap();
    assert_eq!(own, format!("11 {}", six(1).of(Ipv4Addr::new(10, 0, 1, 200))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_cannot_send_from_an_address_that_is_not_its_own() {
    let world = World::new(1).await;
    world.apply(1, &[], with_six).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(0, 1, 11, vec![]).await;
    let links = Links::open(&a).await.unwrap();
    let link = links.index("eth0").await.unwrap();
    links.add_address_at(link, at(1, 77).into(), 128, true).await.unwrap();
    let seen = received_from(&b, &a).await;
    assert_eq!(seen, [at(1, 10)], "nothing came from the other address");
}

/// The sources of two datagrams, one from each address of `from`.
async fn received_from(ns: &NetNs, from: &NetNs) -> Vec<Ipv6Addr> {
    let bind = || std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5353)).unwrap();
    let socket = ns.run(bind).await.unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    from.run(|| {
        for source in [at(1, 77), at(1, 10)] {
            let socket = std::net::UdpSocket::bind((source, 0)).unwrap();
            socket.send_to(b"x", (at(1, 11), 5353)).unwrap();
        }
    })
    .await
    .unwrap();
    let mut seen = vec![];
    while let Ok((_, SocketAddr::V6(from))) = socket.recv_from(&mut [0; 8]) {
        seen.push(*from.ip());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_of_ipv6_is_repaired() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 11)];
    let change = |table: &mut NetworkTable| {
        with_six(table);
        table.services = vec![vip(1, 5, &[11])];
    };
    world.apply(1, &all, change).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    serve(&b, 80, "b").await;
    let pin = world.hosts[0].config.run_dir.join("net/network/net1");
    let inner = NetNs::open(&pin).unwrap();
    let links = Links::open(&inner).await.unwrap();
    for round in 0..4 {
        match round {
            0 => links.delete_route6(at(1, 11).into()).await.unwrap(),
            1 => links.delete_route6(at(1, 10).into()).await.unwrap(),
            2 => {
                let lo = links.index("lo").await.unwrap();
                links.delete_address6(lo, six(1).gateway).await.unwrap();
            }
            _ => links.delete("vx4097").await.unwrap(),
        }
        let mut table = world.table(1, 0, &all);
        change(&mut table);
        let applied = world.hosts[0].net.apply(table.clone()).await.unwrap();
        assert!(applied.changes > 0, "round {round}");
        let answer = ask_tcp(&a, (at(1, 5), 80)).await.unwrap();
        assert_eq!(answer, format!("b {}", at(1, 10)), "round {round}");
        assert_eq!(world.hosts[0].net.apply(table).await.unwrap().changes, 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_reach_a_subnet_that_their_network_got_while_they_ran() {
    let world = World::new(2).await;
    world.apply(1, &[(0, 10), (1, 11)], |table| table.internal = true).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    serve_echo(&b, 80).await;
    let to = (address(1, 11), 80);
    let mut stream = a.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    echo(&mut stream).unwrap();
    // As on a node whose daemon is started anew in the middle of it.
    let far = Ipv4Addr::new(10, 77, 0, 5);
    let grow = |table: &mut NetworkTable| {
        table.internal = true;
        table.more = vec!["10.77.0.0/24".parse().unwrap()];
        if table.node_address == Ipv4Addr::new(10, 0, 1, 200) {
            let underlay = underlay(1).into();
            table.endpoints.push(crate::table::RemoteEndpoint { address: far, underlay });
        }
    };
    world.apply(1, &[(0, 10), (1, 11)], grow).await;
    let attachment = Attachment { network_id: "net1".into(), address: far.into() };
    let made = world.hosts[1].net.create_sandbox("far", vec![attachment], vec![]).await.unwrap();
    let c = NetNs::open(&made.netns).unwrap();
    serve_tcp(&c, 80, "c").await;
    assert_eq!(ask_tcp(&a, (far, 80)).await.unwrap(), "c 10.0.1.10");
    echo(&mut stream).unwrap();
    serve_tcp(&a, 81, "a").await;
    assert_eq!(ask_tcp(&c, (address(1, 10), 81)).await.unwrap(), "a 10.77.0.5");
}
