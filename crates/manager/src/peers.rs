//! Connections to the other managers, one per peer and purpose, kept open and made anew by themselves.
//!
//! It carries requests for `proxy` and `raft_service`; it knows nothing of what they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_ca::{CaError, Credentials};
use swarm_raft_store::Member;
use tonic::transport::Channel;

/// Channels by node id. Cheap to clone; clones share the channels.
#[derive(Clone)]
pub struct Peers {
    credentials: Credentials,
    channels: Arc<Mutex<HashMap<String, (String, Channel)>>>,
}

impl Peers {
    /// No channel yet.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, channels: Arc::default() }
    }

    /// The channel to `member`; the far end must prove that it is this node. A member that moved gets a new channel.
    pub fn channel(&self, member: &Member) -> Result<Channel, CaError> {
        if let Some(channel) = self.known(member) {
            return Ok(channel);
        }
        let channel = self.credentials.peer_channel(&member.addr, &member.node_id)?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(member.node_id.clone(), (member.addr.clone(), channel.clone()));
        Ok(channel)
    }

    fn known(&self, member: &Member) -> Option<Channel> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let (addr, channel) = channels.get(&member.node_id)?;
        (*addr == member.addr).then(|| channel.clone())
    }
}
