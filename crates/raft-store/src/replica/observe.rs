//! A look into a replica, for simulations: what its log, its core and its tables say.

use super::Replica;
use crate::consensus::leads;
use crate::raft::LogId;

/// Term and index of an entry.
type Place = (u64, u64);

/// An entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Term in which it was proposed.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
    /// Differs if the content does.
    pub digest: u64,
}

/// What a replica says of itself. Places are term and index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its Raft id.
    pub raft_id: u64,
    /// Term of the vote on disk.
    pub term: u64,
    /// Whom it voted for in that term.
    pub voted_for: u64,
    /// Whether that one is known to have been elected.
    pub vote_won: bool,
    /// Whether it was elected and knows of no later election.
    pub leads: bool,
    /// Term that its core is in.
    pub core_term: u64,
    /// Last entry of its log.
    pub last: Option<Place>,
    /// Last entry that was purged from it.
    pub purged: Option<Place>,
    /// Last entry that it knows to be committed.
    pub committed: Option<Place>,
    /// Last entry that its tables hold.
    pub applied: Option<Place>,
    /// The voters; two sets while they change.
    pub voters: Vec<Vec<u64>>,
}

fn place(at: LogId) -> Place {
    (at.leader_id.term, at.index)
}

impl Replica {
    /// What it says of itself now; nothing before it has a Raft id.
    pub fn sight(&self) -> Option<Sight> {
        let consensus = self.0.consensus.get()?;
        let metrics = consensus.metrics();
        let marks = self.0.log.marks();
        let configs = metrics.membership_config.membership().get_joint_config();
        Some(Sight {
            raft_id: consensus.raft_id,
            term: marks.vote.map_or(0, |vote| vote.leader_id.term),
            voted_for: marks.vote.map_or(0, |vote| vote.leader_id.voted_for),
            vote_won: marks.vote.is_some_and(|vote| vote.committed),
            leads: leads(&metrics),
            core_term: metrics.current_term,
            last: marks.last.map(place),
            purged: marks.purged.map(place),
            committed: marks.committed.map(place),
            applied: metrics.last_applied.map(place),
            voters: configs.iter().map(|set| set.iter().copied().collect()).collect(),
        })
    }

    /// Entries of its log from this index on, so far as they are in memory.
    pub fn entries_from(&self, index: u64) -> Vec<Entry> {
        let entry =
            |(at, digest): (LogId, u64)| Entry { term: at.leader_id.term, index: at.index, digest };
        self.0.log.entries_from(index).into_iter().map(entry).collect()
    }
}
