//! The WireGuard sessions of one pair of keys.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};

use super::Own;
use crate::key::{PublicKey, SharedKey};
use crate::wanted;

/// A peer behind an address translation stays reachable when something passes this often, seconds.
const KEEPALIVE: u16 = 25;
/// Bytes that a packet grows by, and the least room for what boringtun writes of itself.
pub const ROOM: usize = 32 + 148;

/// One pair of keys.
pub struct Link {
    pub index: u32,
    pub own: PublicKey,
    pub peer: PublicKey,
    shared: SharedKey,
    // Held for a batch of packets at a time; boringtun wants it exclusively for both directions.
    tunn: Mutex<Tunn>,
    ready: AtomicBool,
}

/// What opening a datagram came to. Packets lie in the buffer given.
pub enum Opened<'b> {
    /// A packet from the peer.
    Packet(&'b [u8]),
    /// Authentic, and nothing in it.
    Nothing,
    /// To be sent to the peer; more may have been waiting: see [`Session::more`].
    Reply(&'b [u8]),
    /// Not authentic, too old or seen before.
    Refused,
}

/// The sessions, exclusively.
pub struct Session<'a> {
    link: &'a Link,
    tunn: MutexGuard<'a, Tunn>,
}

impl Link {
    pub(super) fn new(own: &Own, link: &wanted::Link, index: u32) -> Self {
        let tunn = Tunn::new(
            own.secret.clone(),
            link.peer.point(),
            Some(link.shared.bytes()),
            Some(KEEPALIVE),
            index,
            Some(own.limiter.clone()),
        );
        Self {
            index,
            own: link.own,
            peer: link.peer,
            shared: link.shared.clone(),
            tunn: Mutex::new(tunn),
            ready: AtomicBool::new(false),
        }
    }

    pub(super) fn is(&self, link: &wanted::Link) -> bool {
        self.own == link.own && self.peer == link.peer && self.shared == link.shared
    }

    /// There is a session that the peer has confirmed.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub fn session(&self) -> Session<'_> {
        // boringtun leaves nothing half done that a later packet could not bear.
        let tunn = self.tunn.lock().unwrap_or_else(PoisonError::into_inner);
        Session { link: self, tunn }
    }
}

impl Session<'_> {
    /// Encrypts into `out`, which has [`ROOM`] more than the packet. Without a session the packet
    /// is kept, and what comes back begins one.
    pub fn seal<'b>(&mut self, packet: &[u8], out: &'b mut [u8]) -> Option<&'b [u8]> {
        match self.tunn.encapsulate(packet, out) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn open<'b>(&mut self, from: IpAddr, datagram: &[u8], out: &'b mut [u8]) -> Opened<'b> {
        let opened = match self.tunn.decapsulate(Some(from), datagram, out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet)
            }
            TunnResult::WriteToNetwork(bytes) => Opened::Reply(bytes),
            TunnResult::Done => Opened::Nothing,
            TunnResult::Err(_) => return Opened::Refused,
        };
        if !self.link.is_ready() {
            let ready = self.tunn.time_since_last_handshake().is_some();
            self.link.ready.store(ready, Ordering::Relaxed);
        }
        opened
    }

    /// The next packet that waited for a session.
    pub fn more<'b>(&mut self, out: &'b mut [u8]) -> Option<&'b [u8]> {
        match self.tunn.decapsulate(None, &[], out) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// What time has come for: a handshake, a sign of life.
    pub fn tick<'b>(&mut self, out: &'b mut [u8]) -> Option<&'b [u8]> {
        let expired = match self.tunn.update_timers(&mut out[..]) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes.len()),
            // Given up after 90 s: the peer may be back at any time.
            TunnResult::Err(WireGuardError::ConnectionExpired) => None,
            _ => Some(0),
        };
        let ready = self.tunn.time_since_last_handshake().is_some();
        self.link.ready.store(ready, Ordering::Relaxed);
        match expired {
            Some(0) => None,
            Some(length) => Some(&out[..length]),
            None => self.begin(out),
        }
    }

    /// Begins a handshake, unless one is under way.
    pub fn begin<'b>(&mut self, out: &'b mut [u8]) -> Option<&'b [u8]> {
        match self.tunn.format_handshake_initiation(out, false) {
            TunnResult::WriteToNetwork(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn handshake_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }
}
