//! Connections to the other managers, one per peer and purpose, kept open and made anew by themselves.
//!
//! It carries requests for `proxy` and `raft_service`; it knows nothing of what they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_ca::{CaError, Credentials};
use swarm_raft_store::Member;
use tonic::transport::Channel;

use crate::address_book::AddressBook;

/// Channels by node id. Cheap to clone; clones share the channels.
#[derive(Clone)]
pub struct Peers {
    credentials: Credentials,
    book: AddressBook,
    channels: Arc<Mutex<HashMap<String, (String, Channel)>>>,
}

impl Peers {
    /// No channel yet; `book` knows where the peers are now.
    pub fn new(credentials: Credentials, book: AddressBook) -> Self {
        Self { credentials, book, channels: Arc::default() }
    }

    /// Where `member` is now.
    pub fn address(&self, member: &Member) -> String {
        self.book.address(member)
    }

    /// The channel to `member`; the far end must prove that it is this node. A member that moved gets a new channel.
    pub fn channel(&self, member: &Member) -> Result<Channel, CaError> {
        let addr = self.address(member);
        if let Some(channel) = self.known(&member.node_id, &addr) {
            return Ok(channel);
        }
        let channel = self.credentials.peer_channel(&addr, &member.node_id)?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(member.node_id.clone(), (addr, channel.clone()));
        Ok(channel)
    }

    fn known(&self, node_id: &str, addr: &str) -> Option<Channel> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, channel) = channels.get(node_id)?;
        (at == addr).then(|| channel.clone())
    }
}
