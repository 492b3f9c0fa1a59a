//! Who gets a connection, and how long a silent one lasts.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::world::*;
use crate::conntrack;
use crate::netns::NetNs;
use crate::table::{Balance, IDLE_MAX, NetworkTable, Policy};

/// A silent connection is forgotten within this time, at the latest.
const PATIENCE: Duration = Duration::from_secs(20);

fn balanced(backends: &[u8], balance: Balance) -> impl Fn(&mut NetworkTable) {
    let service = crate::Vip { balance, ..vip(1, 5, backends) };
    move |table| table.services = vec![service.clone()]
}

async fn answers(from: &NetNs, count: usize) -> Vec<String> {
    let mut all = vec![];
    for _ in 0..count {
        all.push(ask_tcp(from, (address(1, 5), 80)).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_its_backend_where_connections_are_shared_by_source() {
    let world = World::new(2).await;
    let all = [(0, 10), (0, 11), (1, 12), (0, 13), (0, 14), (0, 15), (1, 16)];
    let policy = |policy| Balance { policy, idle: None };
    world.apply(1, &all, balanced(&[11, 12], policy(Policy::SourceHash))).await;
    let mut clients = vec![];
    for (host, last) in all {
        let ns = world.container(host, 1, last, vec![]).await;
        if [11, 12].contains(&last) {
            serve_tcp(&ns, 80, &format!("{last}")).await;
        } else {
            clients.push(ns);
        }
    }
    let mut used = BTreeSet::new();
    for client in &clients {
        let all: BTreeSet<String> = answers(client, 10).await.into_iter().collect();
        assert_eq!(all.len(), 1, "{all:?} {}", ruleset(client).await);
        used.extend(all.iter().map(|answer| answer[..2].to_owned()));
    }
    assert_eq!(used.len(), 2, "all clients have the same backend");
    // Any at random: both, and not in turn for ever.
    world.apply(1, &all, balanced(&[11, 12], policy(Policy::Random))).await;
    let picked = answers(&clients[0], 60).await;
    let same = picked.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((1..59).contains(&same), "{same} of 59 like the one before");
}

/// The flows of a client's port in the network's namespace on a host.
async fn remembered(host: &Host, port: u16) -> usize {
    let pin = host.config.run_dir.join("net/network/net1");
    let (sender, receiver) = std::sync::mpsc::channel();
    let inner = NetNs::open(&pin).unwrap();
    let look = conntrack::cut(&inner, move |flow| {
        sender.send(flow.original.source_port).unwrap();
        false
    });
    look.await.unwrap();
    receiver.into_iter().filter(|seen| *seen == port).count()
}

async fn silent_until_forgotten(world: &World, from: &NetNs, to: Ipv4Addr) -> TcpStream {
    let open = move || {
        let mut stream = TcpStream::connect((to, 80)).unwrap();
        echo(&mut stream).unwrap();
        stream
    };
    let stream = from.run(open).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let since = Instant::now();
    while remembered(&world.hosts[0], port).await > 0 {
        assert!(since.elapsed() < PATIENCE, "still remembered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_silent_for_too_long_is_reset_whoever_speaks_first() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 12)];
    let short = Balance { idle: Some(1), ..Balance::default() };
    world.apply(1, &all, balanced(&[12], short)).await;
    let client = world.container(0, 1, 10, vec![]).await;
    serve_echo(&world.container(1, 1, 12, vec![]).await, 80).await;
    let mut stream = silent_until_forgotten(&world, &client, address(1, 5)).await;
    let reset = echo(&mut stream).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
    // Without the service's word it lasts as long as the kernel lets it.
    world.apply(1, &all, balanced(&[12], Balance::default())).await;
    let open = move || TcpStream::connect((address(1, 5), 80)).unwrap();
    let mut lasting = client.run(open).await.unwrap();
    echo(&mut lasting).unwrap();
    let inner = NetNs::open(&world.hosts[0].config.run_dir.join("net/network/net1")).unwrap();
    let setting = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
    let kept: u32 = inner
        .run(move || std::fs::read_to_string(setting).unwrap().trim().parse().unwrap())
        .await
        .unwrap();
    assert!(kept >= 8100 && kept == IDLE_MAX, "{kept} s");
    assert_eq!(remembered(&world.hosts[0], lasting.local_addr().unwrap().port()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_into_a_forgotten_connection_is_told_so() {
    let world = World::new(2).await;
    let short = Balance { idle: Some(1), ..Balance::default() };
    world.apply(1, &[(0, 10), (1, 12)], balanced(&[12], short)).await;
    let client = world.container(0, 1, 10, vec![]).await;
    let server = world.container(1, 1, 12, vec![]).await;
    let listen = || std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
    let listener = server.run(listen).await.unwrap();
    let accepted = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"x").unwrap();
        stream
    });
    let stream = silent_until_forgotten(&world, &client, address(1, 5)).await;
    let mut served = accepted.join().unwrap();
    served.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    served.write_all(b"late").unwrap();
    let reset = served.read(&mut [0]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
    drop(stream);
}
