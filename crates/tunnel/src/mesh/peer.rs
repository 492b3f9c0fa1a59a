//! Another node: where it is, and the pairs of keys to talk to it by.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use super::configured;
use super::link::Link;
use crate::counters::Counter;
use crate::wanted;

/// A peer.
pub struct Peer {
    pub id: String,
    /// Data-path address.
    pub address: Ipv4Addr,
    configured: SocketAddr,
    /// Pairs of keys, the best first.
    pub links: Vec<Arc<Link>>,
    state: Arc<State>,
}

/// What stays when the wanted pairs change.
struct State {
    // Written when the peer is heard from elsewhere, read once per batch.
    endpoint: Mutex<SocketAddr>,
    sent: Counter,
    received: Counter,
}

impl Peer {
    /// As wanted. Where it was heard from is kept, unless the managers know it elsewhere now.
    pub(super) fn new(wanted: &wanted::Peer, links: Vec<Arc<Link>>, old: Option<&Peer>) -> Self {
        let configured = configured(wanted);
        let state = match old {
            Some(old) => old.state.clone(),
            None => Arc::new(State {
                endpoint: Mutex::new(configured),
                sent: Counter::default(),
                received: Counter::default(),
            }),
        };
        let peer =
            Self { id: wanted.id.clone(), address: wanted.address, configured, links, state };
        if old.is_some_and(|old| old.configured != configured) {
            peer.heard_from(configured);
        }
        peer
    }

    pub(super) fn link(&self, wanted: &wanted::Link) -> Option<Arc<Link>> {
        self.links.iter().find(|link| link.is(wanted)).cloned()
    }

    /// The pair to send by: the best with a session, else the best.
    pub fn best(&self) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.is_ready()).or(self.links.first())
    }

    /// Where to send.
    pub fn endpoint(&self) -> SocketAddr {
        *self.state.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An authentic datagram came from there.
    pub fn heard_from(&self, from: SocketAddr) {
        *self.state.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = from;
    }

    pub fn sent(&self) -> &Counter {
        &self.state.sent
    }

    pub fn received(&self) -> &Counter {
        &self.state.received
    }

    pub fn status(&self) -> wanted::PeerStatus {
        let ready = self.links.iter().find(|link| link.is_ready());
        wanted::PeerStatus {
            endpoint: self.endpoint().to_string(),
            keys: ready.map(|link| (link.own, link.peer)),
            handshake_age: ready
                .and_then(|link| link.session().handshake_age())
                .map(|age| age.as_secs()),
            sent: self.state.sent.read(),
            received: self.state.received.read(),
        }
    }
}
