//! What simulated groups are made of, for tests that run whole groups by seed: a disk whose power
//! fails, and looks into a replica that production has no use for.
//!
//! Everything here runs on the thread that awaits it and takes only tokio's time, so that a run
//! can be repeated exactly. Used by `tests/sim`; compiled only with the feature of this name.

use std::hash::{DefaultHasher, Hash, Hasher};

use prost::Message;

use crate::ground::Ground;
use crate::raft::snapshot::items;
use crate::raft::wire::{AppendCall, TransferCall, VoteCall};
use crate::{RaftRpc, ReplicaConfig, View};

mod disk;
mod platter;

pub use crate::replica::{Entry, Sight};
pub use disk::Disk;

impl ReplicaConfig {
    /// Puts the replica on a simulated disk, in place of `dir` and the host's threads.
    pub fn on(mut self, disk: Disk) -> Self {
        self.ground = Ground::Simulated(disk);
        self
    }
}

/// A number that differs when anything that is replicated does.
pub fn digest(view: &View) -> u64 {
    let mut hasher = DefaultHasher::new();
    view.version().hash(&mut hasher);
    for item in items(&view.0) {
        item.encode_to_vec().hash(&mut hasher);
    }
    hasher.finish()
}

/// What a call between replicas says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Raft id of the member that it is meant for.
    pub target: u64,
    /// Term that it was sent in.
    pub term: u64,
    /// Raft id of the member that claims to lead that term; `None` for anything but entries and
    /// heartbeats.
    pub leader: Option<u64>,
    /// For people.
    pub words: String,
}

/// Reads a call's body; `None` if it does not decode.
pub fn read(rpc: RaftRpc, body: &[u8]) -> Option<Said> {
    match rpc {
        RaftRpc::Append => {
            let call = AppendCall::decode(body).ok()?;
            let target = call.target;
            let request = call.request().ok()?;
            let (term, leader) = (request.vote.leader_id.term, request.vote.leader_id.voted_for);
            let words = format!(
                "append by {leader} of term {term}: {} after {:?}, committed {:?}",
                request.entries.len(),
                request.prev_log_id.map(|at| (at.leader_id.term, at.index)),
                request.leader_commit.map(|at| at.index),
            );
            Some(Said { target, term, leader: Some(leader), words })
        }
        RaftRpc::Vote => {
            let call = VoteCall::decode(body).ok()?;
            let (target, pre) = (call.target, call.pre);
            let request = call.request().ok()?;
            let (term, candidate) = (request.vote.leader_id.term, request.vote.leader_id.voted_for);
            let kind = if pre { "a pre-vote" } else { "a vote" };
            let last = request.last_log_id.map(|at| (at.leader_id.term, at.index));
            let words = format!("{candidate} asks for {kind} in term {term}, log to {last:?}");
            Some(Said { target, term, leader: None, words })
        }
        RaftRpc::TransferLeader => {
            let call = TransferCall::decode(body).ok()?;
            let target = call.target;
            let words = "asked to take over".to_owned();
            Some(Said { target, term: 0, leader: None, words })
        }
    }
}
