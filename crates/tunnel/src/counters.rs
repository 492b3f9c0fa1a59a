//! What the process counts. Relaxed atomics: nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wanted;

/// Why a frame or datagram goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// The kernel handed over what cannot be cut.
    Malformed,
    /// No member of the network has the target's hardware address: broadcasts and multicasts too.
    NoMember,
    /// The member's node is not in the mesh, or no keys are known.
    NoPeer,
    /// The socket did not take it.
    NotSent,
    /// Not WireGuard, or of no known session or key.
    Foreign,
    /// Authentic, but not what a peer may send: its source is another's.
    Forged,
    /// Authentic, of a network that is not here.
    NoNetwork,
    /// The device did not take it.
    NotWritten,
}

const NAMES: [(Drop, &str); 8] = [
    (Drop::Malformed, "malformed"),
    (Drop::NoMember, "no-member"),
    (Drop::NoPeer, "no-peer"),
    (Drop::NotSent, "not-sent"),
    (Drop::Foreign, "foreign"),
    (Drop::Forged, "forged"),
    (Drop::NoNetwork, "no-network"),
    (Drop::NotWritten, "not-written"),
];

/// Drops by reason.
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; NAMES.len()]);

impl Drops {
    pub fn note(&self, why: Drop) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> BTreeMap<String, u64> {
        let read = |(why, name): &(Drop, &str)| {
            ((*name).to_owned(), self.0[*why as usize].load(Ordering::Relaxed))
        };
        NAMES.iter().map(read).collect()
    }
}

/// Packets and bytes one way.
#[derive(Debug, Default)]
pub struct Counter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    pub fn note(&self, packets: usize, bytes: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> wanted::Count {
        wanted::Count {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
