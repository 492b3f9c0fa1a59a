//! Links, routes and neighbours in namespaces of the tests' own.

use std::net::{TcpListener, TcpStream};

use super::*;
use crate::testbed::Scratch;

#[tokio::test]
async fn two_namespaces_on_a_bridge_talk_and_a_second_run_adopts() {
    let scratch = Scratch::new();
    let (hub, a, b) = (scratch.ns("hub").await, scratch.ns("a").await, scratch.ns("b").await);
    let links = Links::open(&hub).await.unwrap();
    for _ in 0..2 {
        let bridge = links.add_bridge("br0").await.unwrap();
        for (ns, name, address) in [(&a, "pa", "192.0.2.1"), (&b, "pb", "192.0.2.2")] {
            let veth = Veth {
                name,
                mac: None,
                controller: Some(bridge),
                peer: "eth0",
                peer_mac: Some([2, 0, 0, 0, 0, 7]),
                peer_ns: ns,
                mtu: Some(1400),
            };
            links.add_veth(&veth).await.unwrap();
            let inside = Links::open(ns).await.unwrap();
            inside.set_up("lo").await.unwrap();
            inside.set_up("eth0").await.unwrap();
            inside.add_address("eth0", address.parse().unwrap(), 24).await.unwrap();
            let eth0 = inside.find("eth0").await.unwrap().unwrap();
            assert_eq!((eth0.mtu, eth0.mac, eth0.up), (1400, Some([2, 0, 0, 0, 0, 7]), true));
        }
    }
    // The same hardware address twice would not do on one segment.
    let inside = Links::open(&b).await.unwrap();
    let message = LinkUnspec::new_with_name("eth0").address(vec![2, 0, 0, 0, 0, 8]).build();
    inside.change(message, || "set mac".to_owned()).await.unwrap();
    let listener = b.run(|| TcpListener::bind("192.0.2.2:0").unwrap()).await.unwrap();
    let to = listener.local_addr().unwrap();
    a.run(move || TcpStream::connect(to).unwrap()).await.unwrap();
    links.delete("pa").await.unwrap();
    links.delete("pa").await.unwrap();
    assert_eq!(Links::open(&a).await.unwrap().find("eth0").await.unwrap(), None);
}

#[tokio::test]
async fn routes_and_neighbours_read_back_as_they_were_set() {
    let scratch = Scratch::new();
    let (host, inner) = (scratch.ns("host").await, scratch.ns("inner").await);
    let outside = Links::open(&host).await.unwrap();
    outside.set_up("lo").await.unwrap();
    let local = "192.0.2.1".parse().unwrap();
    outside.add_address("lo", IpAddr::V4(local), 32).await.unwrap();
    let vxlan = Vxlan { vni: 77, local: Some(local), port: 4789, learning: false };
    let mac = [2, 1, 1, 1, 1, 1];
    outside.add_vxlan("vx77", &vxlan, (mac, 1450), &inner).await.unwrap();
    let links = Links::open(&inner).await.unwrap();
    // A namespace without any local address takes every gateway for a broadcast.
    links.set_up("lo").await.unwrap();
    let link = links.find("vx77").await.unwrap().unwrap();
    assert_eq!((link.vxlan, link.mac, link.mtu), (Some(vxlan), Some(mac), 1450));
    let link = link.index;
    let gateway = "10.0.0.2".parse().unwrap();
    let routes = [
        ("10.0.0.0/24".parse().unwrap(), Route::Unreachable),
        ("10.0.0.2/32".parse().unwrap(), Route::Link { link }),
        ("10.0.0.9/32".parse().unwrap(), Route::Via { gateway, link }),
    ];
    for (to, route) in routes {
        links.set_route(to, route).await.unwrap();
        links.set_route(to, route).await.unwrap();
    }
    assert_eq!(links.routes().await.unwrap(), routes.into_iter().collect());
    let address = Neighbour::Address { address: gateway, mac: [2, 2, 2, 2, 2, 2] };
    let node = "192.0.2.2".parse().unwrap();
    let forward = Neighbour::Forward { mac: [2, 2, 2, 2, 2, 2], node };
    links.set_neighbour(link, address).await.unwrap();
    links.set_neighbour(link, forward).await.unwrap();
    assert_eq!(links.neighbours().await.unwrap(), [(link, address)]);
    assert_eq!(links.forwards().await.unwrap(), [(link, forward)]);
    for entry in [address, forward, address, forward] {
        links.delete_neighbour(link, entry).await.unwrap();
    }
    assert!(links.neighbours().await.unwrap().is_empty());
    assert!(links.forwards().await.unwrap().is_empty());
    for (to, _) in routes {
        links.delete_route(to).await.unwrap();
        links.delete_route(to).await.unwrap();
    }
    assert!(links.routes().await.unwrap().is_empty());
}
