//! The consensus library's types, filled in with ours, and its storage and network traits,
//! implemented.
//!
//! What leaves or enters a process or a disk goes through `wire`. Used by `consensus` and
//! `replica`.

use std::fmt;

use prost::bytes::Bytes;

use crate::{Member, StoreError};

pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod snapshot;
pub(crate) mod wire;

openraft::declare_raft_types!(
    /// Ours: standard Raft (one leader per term), members with names and addresses.
    pub(crate) Types:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Place,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<Types, machine::Machine>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Place>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, machine::Frozen>;

/// Which node a member of the group is, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node_id: String,
    pub(crate) addr: String,
}

impl Place {
    pub(crate) fn member(&self, raft_id: u64) -> Member {
        Member { raft_id, node_id: self.node_id.clone(), addr: self.addr.clone() }
    }
}

impl From<&Member> for Place {
    fn from(member: &Member) -> Self {
        Self { node_id: member.node_id.clone(), addr: member.addr.clone() }
    }
}

/// An encoded [`swarm_api::RaftCommand`]: encoded once, by the proposer.
#[derive(Clone, PartialEq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    // Never the content: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying a command came to, told to its proposer.
#[derive(Debug, Clone)]
pub(crate) struct Reply(pub(crate) Result<(), StoreError>);
