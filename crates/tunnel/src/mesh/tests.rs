//! Two nodes without a network between them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::key::{PrivateKey, SharedKey};

/// Number of the next session of any node.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A node with one peer: keys of both, the newest first.
fn mesh(old: &Mesh, me: u8, own: &[u8], theirs: &[u8]) -> Mesh {
    let key = |n: &u8| PrivateKey::new([*n; 32]);
    let pairs = own.iter().flat_map(|o| theirs.iter().map(move |t| (o, t)));
    let link = |(own, peer): (&u8, &u8)| {
        let (own, peer) = (key(own).public(), key(peer).public());
        wanted::Link { own, peer, shared: SharedKey::of_pair(&[7; 32], &own, &peer) }
    };
    let other = 3 - me;
    let wanted = wanted::Mesh {
        port: 51820,
        address: address(me),
        vxlan_port: 4789,
        keys: own.iter().map(key).collect(),
        peers: vec![wanted::Peer {
            id: format!("node{other}"),
            address: address(other),
            port: 51820,
            links: pairs.map(link).collect(),
        }],
    };
    old.changed(&wanted, || NEXT.fetch_add(1, Ordering::Relaxed))
}

fn address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, node)
}

fn socket(node: u8) -> SocketAddr {
    SocketAddr::new(address(node).into(), 51820)
}

/// An IPv4 packet that says its own length.
fn packet(text: &str) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet.extend(text.as_bytes());
    packet[0] = 0x45;
    packet[3] = packet.len() as u8;
    packet
}

fn send(mesh: &Mesh, text: &str) -> Option<Vec<u8>> {
    let peer = mesh.peers().next().unwrap();
    let link = peer.best().unwrap();
    link.session().seal(&packet(text), &mut [0; 2000]).map(<[u8]>::to_vec)
}

/// Hands a datagram over; returns the texts that arrived and what is to be sent back.
fn receive(mesh: &Mesh, from: u8, datagram: &[u8]) -> (Vec<String>, Vec<Vec<u8>>) {
    let (mut texts, mut replies) = (vec![], vec![]);
    let Incoming::Link(_, link) = mesh.incoming(datagram, socket(from)) else {
        return (texts, replies);
    };
    let (mut session, mut out) = (link.session(), [0; 2000 + ROOM]);
    match session.open(address(from).into(), datagram, &mut out) {
        Opened::Packet(p) => texts.push(String::from_utf8_lossy(&p[20..]).into_owned()),
        Opened::Reply(bytes) => {
            replies.push(bytes.to_vec());
            let mut out = [0; 2000 + ROOM];
            while let Some(bytes) = session.more(&mut out) {
                replies.push(bytes.to_vec());
            }
        }
        Opened::Nothing | Opened::Refused => {}
    }
    (texts, replies)
}

/// Carries datagrams to and fro until none is left; returns what arrived at either.
fn carry(a: &Mesh, b: &Mesh, first: Vec<u8>) -> Vec<String> {
    let (mut texts, mut at_b, mut queue) = (vec![], true, vec![first]);
    while !queue.is_empty() {
        let (here, from) = if at_b { (b, 1) } else { (a, 2) };
        let mut replies = vec![];
        for datagram in queue {
            let (arrived, more) = receive(here, from, &datagram);
            texts.extend(arrived);
            replies.extend(more);
        }
        (at_b, queue) = (!at_b, replies);
    }
    texts
}

#[test]
fn the_first_packet_waits_for_the_handshake_and_arrives() {
    let a = mesh(&Mesh::default(), 1, &[1], &[2]);
    let b = mesh(&Mesh::default(), 2, &[2], &[1]);
    let hello = send(&a, "first").unwrap();
    assert_eq!(carry(&a, &b, hello), ["first"]);
    let again = send(&a, "second").unwrap();
    assert_eq!(receive(&b, 1, &again).0, ["second"]);
    assert!(receive(&b, 1, &again).0.is_empty(), "replayed");
    let back = send(&b, "back").unwrap();
    assert_eq!(receive(&a, 2, &back).0, ["back"]);
}

#[test]
fn whoever_is_not_a_peer_is_nobody() {
    let b = mesh(&Mesh::default(), 2, &[2], &[1]);
    let stranger = mesh(&Mesh::default(), 1, &[9], &[2]);
    let hello = send(&stranger, "let me in").unwrap();
    assert!(matches!(b.incoming(&hello, socket(1)), Incoming::Foreign));
    assert!(matches!(b.incoming(b"plain text", socket(1)), Incoming::Foreign));
    // The right keys, and another secret of the cluster.
    let key = |n: u8| PrivateKey::new([n; 32]).public();
    let wanted = wanted::Mesh {
        port: 51820,
        address: address(1),
        vxlan_port: 4789,
        keys: vec![PrivateKey::new([1; 32])],
        peers: vec![wanted::Peer {
            id: "node2".into(),
            address: address(2),
            port: 51820,
            links: vec![wanted::Link {
                own: key(1),
                peer: key(2),
                shared: SharedKey::of_pair(&[8; 32], &key(1), &key(2)),
            }],
        }],
    };
    let outsider = Mesh::default().changed(&wanted, || 5);
    let hello = send(&outsider, "me too").unwrap();
    assert!(carry(&outsider, &b, hello).is_empty());
}

#[test]
fn keys_turn_at_one_end_after_the_other_without_a_packet_lost() {
    let a = mesh(&Mesh::default(), 1, &[1], &[2]);
    let b = mesh(&Mesh::default(), 2, &[2], &[1]);
    assert_eq!(carry(&a, &b, send(&a, "0").unwrap()), ["0"]);
    // Only one end knows of its new key: the old pair goes on.
    let a = mesh(&a, 1, &[11, 1], &[2]);
    assert_eq!(carry(&a, &b, send(&a, "1").unwrap()), ["1"]);
    // The other has heard of it: a handshake by the new pair, and traffic has moved.
    let b = mesh(&b, 2, &[2], &[11, 1]);
    let begin = |mesh: &Mesh| {
        let peer = mesh.peers().next().unwrap();
        peer.links[0].session().begin(&mut [0; 2000]).map(<[u8]>::to_vec).unwrap()
    };
    carry(&a, &b, begin(&a));
    let best = |mesh: &Mesh| mesh.peers().next().unwrap().best().unwrap().own;
    assert_eq!(best(&a), PrivateKey::new([11; 32]).public());
    assert_eq!(carry(&a, &b, send(&a, "2").unwrap()), ["2"]);
    // What was sent by the old pair before still arrives as long as it is kept.
    let (a, b) = (mesh(&a, 1, &[11], &[2]), mesh(&b, 2, &[2], &[11]));
    assert_eq!(carry(&a, &b, send(&a, "3").unwrap()), ["3"]);
    assert_eq!(receive(&a, 2, &send(&b, "4").unwrap()).0, ["4"]);
}

#[test]
fn where_a_peer_was_heard_from_is_kept_until_the_managers_know_better() {
    let a = mesh(&Mesh::default(), 1, &[1], &[2]);
    let roamed: SocketAddr = "198.51.100.7:4000".parse().unwrap();
    a.peers().next().unwrap().heard_from(roamed);
    let same = mesh(&a, 1, &[11, 1], &[2]);
    assert_eq!(same.peers().next().unwrap().endpoint(), roamed);
    assert_eq!(Mesh::default().changed(&wanted_of(2), || 1).peers().count(), 0);
}

/// No peers at all.
fn wanted_of(me: u8) -> wanted::Mesh {
    wanted::Mesh {
        port: 51820,
        address: address(me),
        vxlan_port: 4789,
        keys: vec![],
        peers: vec![],
    }
}
