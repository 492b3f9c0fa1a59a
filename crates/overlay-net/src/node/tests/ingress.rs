//! The routing mesh: clients' addresses, whatever they are and wherever they come in.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::time::TimeVal;

use super::world::*;
use crate::link::{Links, Select};
use crate::netns::NetNs;
use crate::table::{IngressPort, NetworkTable, Protocol};

fn serving(backends: &'static [u8]) -> impl Fn(&mut NetworkTable) {
    move |table| {
        table.ingress = true;
        table.services = vec![vip(9, 5, backends)];
    }
}

fn both() -> Vec<IngressPort> {
    vec![published(Protocol::Tcp, 8080, 80), published(Protocol::Udp, 5353, 53)]
}

async fn publish(world: &World, ports: &[IngressPort]) {
    for host in &world.hosts {
        host.net.set_ingress(ports.to_vec()).await.unwrap();
    }
}

/// A connection from a port that others are open on.
fn connect_from(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> std::io::Result<TcpStream> {
    let (kind, none) = (SockType::Stream, SockFlag::empty());
    let made = socket::socket(AddressFamily::Inet, kind, none, None)?;
    socket::setsockopt(&made, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&made, sockopt::SendTimeout, &TimeVal::new(3, 0))?;
    let address = |(ip, port)| SockaddrIn::from(SocketAddrV4::new(ip, port));
    socket::bind(made.as_raw_fd(), &address(from))?;
    socket::connect(made.as_raw_fd(), &address(to))?;
    let stream = TcpStream::from(made);
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_port_through_two_nodes_is_two_connections() {
    let world = World::new(3).await;
    world.apply(9, &[(2, 12)], serving(&[12])).await;
    publish(&world, &both()).await;
    let ns = world.container(2, 9, 12, vec![]).await;
    serve_echo(&ns, 80).await;
    serve_udp(&ns, 53, "dns").await;
    let streams = world.client.run(|| {
        [0, 1, 2].map(|at| {
            let from = (Ipv4Addr::UNSPECIFIED, 40_000);
            let mut stream = connect_from(from, (underlay(at), 8080)).unwrap();
            echo(&mut stream).unwrap();
            stream
        })
    });
    for mut stream in streams.await.unwrap() {
        echo(&mut stream).unwrap();
    }
    let answers = world.client.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 40_001)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        [0, 1, 2].map(|at| {
            socket.send_to(b"?", (underlay(at), 5353)).unwrap();
            let mut buffer = [0; 64];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, SocketAddr::from((underlay(at), 5353)));
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
    });
    assert_eq!(answers.await.unwrap(), ["dns 192.0.2.100"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_address_is_also_one_of_the_overlay_is_answered() {
    let world = World::new(2).await;
    world.apply(1, &[(1, 12)], |_| {}).await;
    world.apply(9, &[(1, 12)], serving(&[12])).await;
    publish(&world, &both()).await;
    let ns = world.container_on(1, &[1, 9], 12, vec![]).await;
    serve_tcp(&ns, 80, "web").await;
    serve_udp(&ns, 53, "dns").await;
    let links = Links::open(&world.client).await.unwrap();
    // In the ingress network's subnet, and in that of the container's other network.
    let clients = [address(9, 77), address(1, 77)];
    for client in clients {
        links.add_address("eth0", client.into(), 32).await.unwrap();
        for host in &world.hosts {
            let outside = Links::open(&host.ns).await.unwrap();
            outside.add_route(client.into(), None, Some("eth0")).await.unwrap();
        }
    }
    for (client, at) in [(clients[0], 0), (clients[0], 1), (clients[1], 0), (clients[1], 1)] {
        let asked = world.client.run(move || {
            let mut answer = String::new();
            connect_from((client, 0), (underlay(at), 8080))?.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        });
        let asked = asked.await.unwrap().unwrap();
        assert_eq!(asked, format!("web {client}"), "through host {at}");
    }
    // A server that answers from whatever address is nearest to the client can be reached so only
    // where no other network of its own holds that client.
    let answer = world.client.run(move || {
        let socket = UdpSocket::bind((clients[0], 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        socket.connect((underlay(0), 5353)).unwrap();
        exchange(&socket)
    });
    assert_eq!(answer.await.unwrap().unwrap(), format!("dns {}", clients[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_port_is_answered_only_where_a_container_is() {
    let world = World::new(3).await;
    world.apply(9, &[(1, 11), (2, 12)], serving(&[11, 12])).await;
    let local = IngressPort { local: true, ..published(Protocol::Tcp, 8080, 80) };
    publish(&world, &[local]).await;
    for (host, last) in [(1, 11), (2, 12)] {
        let ns = world.container(host, 9, last, vec![]).await;
        serve_tcp(&ns, 80, &format!("{last}")).await;
    }
    let refused = ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    for _ in 0..4 {
        for (at, last) in [(1, 11), (2, 12)] {
            let answer = ask_tcp(&world.client, (underlay(at), 8080)).await.unwrap();
            assert_eq!(answer, format!("{last} 192.0.2.100"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_one_address_is_open_there_only_and_two_services_may_share_its_number() {
    let world = World::new(2).await;
    world
        .apply(9, &[(1, 11), (1, 12)], |table| {
            table.ingress = true;
            table.services = vec![vip(9, 5, &[11]), vip(9, 6, &[12])];
        })
        .await;
    let on = |ip, vip| IngressPort {
        host_ip: Some(ip),
        vip: address(9, vip),
        ..published(Protocol::Tcp, 8080, 80)
    };
    publish(&world, &[on(Ipv4Addr::LOCALHOST, 5), on(underlay(0), 6)]).await;
    for last in [11, 12] {
        serve_tcp(&world.container(1, 9, last, vec![]).await, 80, &format!("{last}")).await;
    }
    let (first, second) = (&world.hosts[0].ns, &world.hosts[1].ns);
    let loopback = (Ipv4Addr::LOCALHOST, 8080);
    assert!(ask_tcp(first, loopback).await.unwrap().starts_with("11 "));
    assert!(ask_tcp(second, loopback).await.unwrap().starts_with("11 "));
    assert_eq!(ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap(), "12 192.0.2.100");
    let closed = ask_tcp(&world.client, (underlay(1), 8080)).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::ConnectionRefused, "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_with_published_ports_reach_out_as_their_other_networks_let_them() {
    let world = World::new(2).await;
    serve_tcp(&world.client, 80, "world").await;
    world.apply(1, &[(1, 11)], |_| {}).await;
    world.apply(2, &[(1, 12)], |table| table.internal = true).await;
    world.apply(9, &[(1, 11), (1, 12)], serving(&[11, 12])).await;
    publish(&world, &both()).await;
    let open = world.container_on(1, &[1, 9], 11, vec![]).await;
    let closed = world.container_on(1, &[2, 9], 12, vec![]).await;
    for (ns, tag) in [(&open, "open"), (&closed, "closed")] {
        serve_tcp(ns, 80, tag).await;
        serve_udp(ns, 53, tag).await;
    }
    // Also where the server does not say which of its addresses it answers from.
    let (mut tcp, mut udp) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..2 {
        tcp.insert(ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap());
        udp.insert(ask_udp(&world.client, (underlay(0), 5353)).await.unwrap());
    }
    let all = ["closed 192.0.2.100", "open 192.0.2.100"].map(str::to_owned);
    assert_eq!((tcp, udp), (all.clone().into(), all.into()));
    assert_eq!(ask_tcp(&open, (underlay(99), 80)).await.unwrap(), "world 192.0.2.2");
    assert!(ask_tcp(&closed, (underlay(99), 80)).await.is_err());
    // The mesh is no network between containers, but published ports are for them too.
    assert!(ask_tcp(&open, (address(9, 12), 80)).await.is_err());
    for at in 0..2 {
        let asked = ask_tcp(&open, (underlay(at), 8080)).await.unwrap();
        assert!(asked.contains("open") || asked.contains("closed"), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_dead_container_go_to_a_living_one() {
    let world = World::new(3).await;
    let all = [(1, 11), (2, 12)];
    world.apply(9, &all, serving(&[11])).await;
    publish(&world, &both()).await;
    for (host, last) in all {
        let ns = world.container(host, 9, last, vec![]).await;
        serve_echo(&ns, 80).await;
        serve_udp(&ns, 53, &format!("{last}")).await;
    }
    let socket = udp(&world.client, (underlay(0), 5353)).await;
    assert_eq!(exchange(&socket).unwrap(), "11 192.0.2.100");
    let to = (underlay(0), 8080);
    let mut stream = world.client.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    echo(&mut stream).unwrap();
    world.apply(9, &all, serving(&[12])).await;
    assert_eq!(exchange(&socket).unwrap(), "11 192.0.2.100", "draining");
    echo(&mut stream).unwrap();
    world.hosts[1].net.delete_sandbox("c11").await.unwrap();
    world.apply(9, &all[1..], serving(&[12])).await;
    assert_eq!(exchange(&socket).unwrap(), "12 192.0.2.100");
    let reset = echo(&mut stream).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_back_that_somebody_deleted_are_repaired_and_those_of_gone_nodes_removed() {
    let world = World::new(2).await;
    let all = [(1, 12)];
    world.apply(9, &all, serving(&[12])).await;
    publish(&world, &both()).await;
    serve_tcp(&world.container(1, 9, 12, vec![]).await, 80, "web").await;
    let pin = world.hosts[1].config.run_dir.join("net/network/net9");
    let links = Links::open(&NetNs::open(&pin).unwrap()).await.unwrap();
    let way = Select::Mark(200);
    assert!(links.detours().await.unwrap().contains_key(&way));
    links.delete_detour(way).await.unwrap();
    world.apply(9, &all, serving(&[12])).await;
    assert_eq!(ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap(), "web 192.0.2.100");
    let mut alone = world.table(9, 1, &[]);
    serving(&[12])(&mut alone);
    alone.peers.clear();
    world.hosts[1].net.apply(alone.clone()).await.unwrap();
    assert!(!links.detours().await.unwrap().contains_key(&way));
    assert_eq!(world.hosts[1].net.apply(alone).await.unwrap().changes, 0);
}
