//! What the daemon wants of the process and what that answers: plain values, sent as JSON. Each
//! part carries a digest, so the daemon sends again only what the process does not have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::key::{PrivateKey, PublicKey, SharedKey};

/// Raised when what is said here changes: a process of another version is replaced.
pub const VERSION: u32 = 1;

/// One thing that the daemon says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Only asks.
    Status,
    /// The whole mesh.
    Mesh(Mesh),
    /// The whole of one network.
    Network(Network),
    /// The network is none of this node's any more.
    Forget { vni: u32 },
    /// With a file descriptor: the TAP device of the network.
    Tap { vni: u32 },
    /// End.
    Stop,
}

/// Answer to everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// See [`VERSION`].
    pub version: u32,
    /// Digest of the mesh it has; 0: none.
    pub mesh: u64,
    /// Networks by VNI.
    pub networks: BTreeMap<u32, NetworkStatus>,
    /// Peers by node id.
    pub peers: BTreeMap<String, PeerStatus>,
    /// Frames dropped since the process began, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Why the last request was not carried out.
    pub refused: Option<String>,
}

/// State of one network in the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Digest of its table; 0: none.
    pub digest: u64,
    /// Its device is held.
    pub has_tap: bool,
}

/// State of the tunnel to one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Where it was heard from last, or is expected: ADDRESS:PORT.
    pub endpoint: String,
    /// Keys of ours and its that the traffic to it goes by; none while there is no session.
    pub keys: Option<(PublicKey, PublicKey)>,
    /// Seconds since the last handshake.
    pub handshake_age: Option<u64>,
    /// Inner packets and bytes to the peer
    pub sent: Count,
    /// and from it.
    pub received: Count,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets as they were on the wire.
    pub packets: u64,
    /// Bytes of the inner frames.
    pub bytes: u64,
}

/// This node and its peers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mesh {
    /// UDP port to receive on.
    pub port: u16,
    /// This node's data-path address: what tunnels have as their inner source.
    pub address: Ipv4Addr,
    /// Port of VXLAN inside.
    pub vxlan_port: u16,
    /// This node's keys.
    pub keys: Vec<PrivateKey>,
    /// All nodes it may talk to.
    pub peers: Vec<Peer>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Node id.
    pub id: String,
    /// Its data-path address: what its tunnels have as their inner source.
    pub address: Ipv4Addr,
    /// Where it receives, until it is heard from elsewhere.
    pub port: u16,
    /// Pairs of keys to talk by, the best first.
    pub links: Vec<Link>,
}

/// A pair of keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Of this node's.
    pub own: PublicKey,
    /// Of the peer's.
    pub peer: PublicKey,
    /// What the two share besides.
    pub shared: SharedKey,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// VXLAN network identifier.
    pub vni: u32,
    /// Addresses that every node has.
    pub gateways: Vec<IpAddr>,
    /// Packets from addresses that no node has are carried too: clients of published ports.
    pub transit: bool,
    /// The other nodes of the network.
    pub members: Vec<Member>,
}

/// Another node in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Data-path address of the node: names the peer.
    pub address: Ipv4Addr,
    /// Hardware address of its device.
    pub mac: [u8; 6],
    /// Addresses in the network that are there: the node's own and its containers'.
    pub owns: Vec<IpAddr>,
}

/// What tells two values apart (FNV-1a of their JSON); never 0.
pub fn digest(value: &impl Serialize) -> u64 {
    struct Fnv(u64);
    impl std::io::Write for Fnv {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // These values always become JSON, and the writer takes all of it.
    let _ = serde_json::to_writer(&mut hash, value);
    hash.0.max(1)
}
