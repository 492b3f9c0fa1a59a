//! A look at what the log holds, for simulations.

use std::hash::{DefaultHasher, Hash, Hasher};

use openraft::EntryPayload;

use super::Log;
use crate::raft::{Entry, LogId, Vote};

/// Positions in a log, and the vote beside it.
pub(crate) struct Marks {
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
}

impl Log {
    pub(crate) fn marks(&self) -> Marks {
        let tail = self.0.tail();
        let (vote, last) = (tail.vote, tail.last);
        Marks { vote, last, purged: tail.purged, committed: tail.committed }
    }

    /// Where each cached entry from this index on lies, and a number that tells it from others.
    pub(crate) fn entries_from(&self, index: u64) -> Vec<(LogId, u64)> {
        let tail = self.0.tail();
        tail.entries.range(index..).map(|(_, entry)| (entry.log_id, digest(entry))).collect()
    }
}

fn digest(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &entry.payload {
        EntryPayload::Blank => 0_u8.hash(&mut hasher),
        EntryPayload::Normal(command) => command.0.hash(&mut hasher),
        EntryPayload::Membership(membership) => format!("{membership:?}").hash(&mut hasher),
    }
    hasher.finish()
}
