//! Underlays that carry more or less than usual, and ones that change.

use std::io;
use std::net::{Ipv6Addr, TcpStream, UdpSocket};
use std::process::Command;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::world::*;
use crate::link::Links;
use crate::naming;
use crate::netns::NetNs;
use crate::table::{NetworkTable, Six};

async fn mtu(ns: &NetNs, link: &str) -> u32 {
    Links::open(ns).await.unwrap().find(link).await.unwrap().unwrap().mtu
}

/// What the peers say of their links, as managers pass it on.
fn told(hosts: &'static [u32]) -> impl Fn(&mut NetworkTable) {
    move |table| {
        for peer in &mut table.peers {
            let host = (0..hosts.len()).find(|n| peer.underlay == underlay(*n));
            peer.mtu = host.map(|n| hosts[n]);
        }
    }
}

/// Sends a datagram that may not be cut and waits for it on the other side.
async fn datagram(from: &NetNs, to: &NetNs, address: Ipv6Addr, size: usize) -> bool {
    let bind = || UdpSocket::bind("[::]:7777").unwrap();
    let receiver = to.run(bind).await.unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let sent: io::Result<()> = from
        .run(move || {
            let socket = UdpSocket::bind("[::]:0")?;
            setsockopt(&socket, sockopt::Ipv6DontFrag, &true)?;
            socket.send_to(&vec![7; size], (address, 7777)).map(drop)
        })
        .await
        .unwrap();
    sent.is_ok() && receiver.recv(&mut vec![0; size]).is_ok_and(|length| length == size)
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_use_all_that_jumbo_and_narrow_underlays_carry() {
    for (hosts, expected) in
        [(&[9000, 9000], 8950), (&[1450, 1450], 1400), (&[9000, 1450], 1400), (&[1500, 9000], 1450)]
    {
        let world = World::of(hosts).await;
        let six = Six { subnet: "fd00::/64".parse().unwrap(), gateway: "fd00::1".parse().unwrap() };
        let both = |table: &mut NetworkTable| {
            told(hosts)(table);
            table.six = Some(six);
        };
        world.apply(1, &[(0, 10), (1, 11)], both).await;
        let a = world.container(0, 1, 10, vec![]).await;
        let b = world.container(1, 1, 11, vec![]).await;
        assert_eq!((mtu(&a, "eth0").await, mtu(&b, "eth0").await), (expected, expected));
        serve_echo(&b, 80).await;
        let to = (address(1, 11), 80).into();
        a.run(move || megabyte(to)).await.unwrap().unwrap();
        // 48 bytes of headers: it fills the last byte, and one more does not fit.
        let (size, address) = (expected as usize - 48, six.of(address(1, 11)));
        assert!(datagram(&a, &b, address, size).await, "{hosts:?}");
        assert!(!datagram(&a, &b, address, size + 1).await, "{hosts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_carries_less_than_its_link_counts() {
    let world = World::of(&[1500, 1500]).await;
    world.hosts[0]
        .ns
        .run(|| {
            let args = ["route", "add", "192.0.2.2/32", "dev", "eth0", "mtu", "1300"];
            assert!(Command::new("ip").args(args).status().unwrap().success());
        })
        .await
        .unwrap();
    let applied = world.hosts[0].net.apply(world.table(1, 0, &[])).await.unwrap();
    assert_eq!(applied.mtu, 1250);
    let other = world.hosts[1].net.apply(world.table(1, 1, &[])).await.unwrap();
    assert_eq!(other.mtu, 1450, "its own way is as wide as its link");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mtu_that_was_asked_for_is_honoured_if_it_fits() {
    let world = World::of(&[1500, 1450]).await;
    let asked = |at: usize, mtu: u32| {
        let mut table = world.table(1, at, &[]);
        told(&[1500, 1450])(&mut table);
        table.mtu = Some(mtu);
        table
    };
    let refused = world.hosts[0].net.apply(asked(0, 1450)).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "network network-1: mtu 1450 does not fit: the underlay to 192.0.2.2 carries 1450 bytes, \
         of which VXLAN takes 50, so 1400 is the most"
    );
    assert!(world.hosts[0].net.list().await.is_empty());
    assert_eq!(world.hosts[0].net.apply(asked(0, 1200)).await.unwrap().mtu, 1200);
    let a = world.container(0, 1, 10, vec![]).await;
    assert_eq!(mtu(&a, "eth0").await, 1200);
    // What is there is not taken away.
    assert_eq!(world.hosts[0].net.apply(asked(0, 1450)).await.unwrap().mtu, 1450);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_containers_follow_an_underlay_that_changes() {
    let world = World::of(&[1500, 1500]).await;
    world.apply(1, &[(0, 10), (1, 11)], |_| {}).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    serve_echo(&b, 80).await;
    let to = (address(1, 11), 80);
    let mut stream = a.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    echo(&mut stream).unwrap();
    for (underlay, expected) in [(1400, 1350), (1500, 1450)] {
        for host in &world.hosts {
            Links::open(&host.ns).await.unwrap().set_mtu("eth0", underlay).await.unwrap();
        }
        world.apply(1, &[(0, 10), (1, 11)], |_| {}).await;
        assert_eq!((mtu(&a, "eth0").await, mtu(&b, "eth0").await), (expected, expected));
        echo(&mut stream).unwrap();
        a.run(move || megabyte(to.into())).await.unwrap().unwrap();
        let again = world.hosts[0].net.apply(world.table(1, 0, &[(1, 11)])).await.unwrap();
        assert_eq!(again.changes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_fit_the_way_even_if_their_ends_do_not_know_it() {
    let world = World::of(&[1500, 1500]).await;
    world.apply(1, &[(0, 10), (1, 11)], |_| {}).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    for (host, last, ns) in [(0, 10, &a), (1, 11, &b)] {
        let pin = world.hosts[host].config.run_dir.join("net/network/net1");
        let router = Links::open(&NetNs::open(&pin).unwrap()).await.unwrap();
        router.set_mtu(&naming::port("net1", &format!("c{last}")), 9000).await.unwrap();
        Links::open(ns).await.unwrap().set_mtu("eth0", 9000).await.unwrap();
    }
    serve_echo(&b, 80).await;
    let to = (address(1, 11), 80);
    let stream = a.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    // 1450 less the headers of IP and TCP; timestamps take twelve bytes of it.
    let segment = getsockopt(&stream, sockopt::TcpMaxSeg).unwrap();
    assert!((1390..=1410).contains(&segment), "{segment}");
}
