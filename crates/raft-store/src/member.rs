//! Managers as the Raft group knows them.

/// One member of the Raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Random, nonzero, never used again by another log.
    pub raft_id: u64,
    /// Id of the node it runs on.
    pub node_id: String,
    /// `host:port` of its listener.
    pub addr: String,
}

/// A member and how it is doing, as this replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Who.
    pub member: Member,
    /// Whether its vote counts; a learner's does not yet.
    pub voter: bool,
    /// Whether it has answered the leader lately. Known to the leader only: on others, true for the
    /// leader and itself.
    pub reachable: bool,
    /// Whether it leads.
    pub is_leader: bool,
}

/// Who leads, as this replica knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft term.
    pub term: u64,
    /// The leader of that term, if known.
    pub leader: Option<Member>,
    /// Whether it is this replica, and its store holds all that was committed before.
    pub is_leader: bool,
}
