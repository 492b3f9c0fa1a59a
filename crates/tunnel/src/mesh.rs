//! The peers of this node and the WireGuard sessions with them. Changing what is wanted keeps every
//! session whose pair of keys stays. With two pairs in use, traffic goes by the best that has a
//! session, so keys turn without a packet lost.

mod link;
mod peer;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey as Point, StaticSecret};

pub use self::link::{Link, Opened, ROOM, Session};
pub use self::peer::Peer;
use crate::key::PublicKey;
use crate::wanted;

/// Handshakes a second beyond which a sender must show that it has its address.
const HANDSHAKES_PER_SECOND: u64 = 200;
/// Indexes of sessions have 24 bits; the lowest 8 of 32 are boringtun's.
const INDEX_MAX: u32 = (1 << 24) - 1;

/// One of this node's own keys.
pub struct Own {
    pub public: PublicKey,
    secret: StaticSecret,
    point: Point,
    /// Judges handshakes before anything costly is done with them,
    gate: RateLimiter,
    /// and once more inside boringtun, which must never be the stricter one.
    limiter: Arc<RateLimiter>,
}

/// The mesh at one time.
#[derive(Default)]
pub struct Mesh {
    pub digest: u64,
    pub port: u16,
    pub address: Option<Ipv4Addr>,
    pub vxlan_port: u16,
    own: Vec<Arc<Own>>,
    peers: HashMap<Ipv4Addr, Arc<Peer>>,
    links: HashMap<u32, (Arc<Peer>, Arc<Link>)>,
}

/// What a datagram is for.
pub enum Incoming {
    /// One of the peers.
    Link(Arc<Peer>, Arc<Link>),
    /// Send this back where it came from: its sender must show that it has its address.
    Cookie(Vec<u8>),
    /// Nobody here.
    Foreign,
}

impl Mesh {
    /// The mesh that is wanted, with what this one has of it. `index` numbers new sessions.
    pub fn changed(&self, wanted: &wanted::Mesh, mut index: impl FnMut() -> u32) -> Self {
        let own: Vec<_> = wanted.keys.iter().map(|key| self.own(key)).collect();
        let mut mesh = Self {
            digest: wanted::digest(wanted),
            port: wanted.port,
            address: Some(wanted.address),
            vxlan_port: wanted.vxlan_port,
            own,
            ..Self::default()
        };
        for peer in &wanted.peers {
            let old = self.peers.get(&peer.address);
            let links = peer.links.iter().filter_map(|link| {
                let kept = old.and_then(|p| p.link(link));
                kept.or_else(|| {
                    let own = mesh.own.iter().find(|o| o.public == link.own)?;
                    Some(Arc::new(Link::new(own, link, index() & INDEX_MAX)))
                })
            });
            let peer = Arc::new(Peer::new(peer, links.collect(), old.map(|p| &**p)));
            for link in &peer.links {
                mesh.links.insert(link.index, (peer.clone(), link.clone()));
            }
            mesh.peers.insert(peer.address, peer);
        }
        mesh
    }

    /// Peers by id.
    pub fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// The peer with this data-path address.
    pub fn peer(&self, address: Ipv4Addr) -> Option<&Arc<Peer>> {
        self.peers.get(&address)
    }

    /// Once a second.
    pub fn reset_limits(&self) {
        for own in &self.own {
            own.gate.reset_count();
            own.limiter.reset_count();
        }
    }

    /// Whose session or handshake a datagram belongs to.
    pub fn incoming(&self, datagram: &[u8], from: SocketAddr) -> Incoming {
        let index = match Tunn::parse_incoming_packet(datagram) {
            Ok(Packet::PacketData(p)) => p.receiver_idx,
            Ok(Packet::HandshakeResponse(p)) => p.receiver_idx,
            Ok(Packet::PacketCookieReply(p)) => p.receiver_idx,
            Ok(Packet::HandshakeInit(_)) => return self.initiated(datagram, from),
            Err(_) => return Incoming::Foreign,
        };
        match self.links.get(&(index >> 8)) {
            Some((peer, link)) => Incoming::Link(peer.clone(), link.clone()),
            None => Incoming::Foreign,
        }
    }

    /// A handshake names nobody in clear: which of our keys it is for shows by its first code,
    /// whose it is by what it encrypts.
    fn initiated(&self, datagram: &[u8], from: SocketAddr) -> Incoming {
        for own in &self.own {
            let mut cookie = [0; 64];
            let packet = match own.gate.verify_packet(Some(from.ip()), datagram, &mut cookie) {
                Ok(packet) => packet,
                Err(TunnResult::WriteToNetwork(cookie)) => {
                    return Incoming::Cookie(cookie.to_vec());
                }
                Err(_) => continue,
            };
            let Packet::HandshakeInit(packet) = packet else { return Incoming::Foreign };
            let Ok(half) = parse_handshake_anon(&own.secret, &own.point, &packet) else {
                return Incoming::Foreign;
            };
            let is_meant = |link: &&(Arc<Peer>, Arc<Link>)| {
                link.1.own == own.public && *link.1.peer.bytes() == half.peer_static_public
            };
            if let Some((peer, link)) = self.links.values().find(is_meant) {
                return Incoming::Link(peer.clone(), link.clone());
            }
            return Incoming::Foreign;
        }
        Incoming::Foreign
    }

    fn own(&self, key: &crate::key::PrivateKey) -> Arc<Own> {
        let public = key.public();
        if let Some(own) = self.own.iter().find(|own| own.public == public) {
            return own.clone();
        }
        let (secret, point) = (key.secret(), public.point());
        let gate = RateLimiter::new(&point, HANDSHAKES_PER_SECOND);
        let limiter = Arc::new(RateLimiter::new(&point, u64::MAX));
        Arc::new(Own { public, secret, point, gate, limiter })
    }
}

/// Where a peer receives, as far as the managers know.
fn configured(peer: &wanted::Peer) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(peer.address, peer.port))
}

#[cfg(test)]
mod tests;
