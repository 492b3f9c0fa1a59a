//! Keeps the log within its bound on disk, where entries are so large that counting them does not.
//!
//! The library makes a snapshot after so many entries and purges what it covers but for a few. This
//! adds: also after so many bytes; and those few go too if they are too large.

use crate::consensus::Consensus;
use crate::raft::log::Log;
use crate::raft::snapshot::SnapshotFile;

/// What is bounded, and by how much.
pub(super) struct Bound {
    pub(super) log: Log,
    pub(super) snapshot: SnapshotFile,
    /// Bytes of entries that call for a snapshot.
    pub(super) bytes: u64,
}

impl Bound {
    /// Asks for a snapshot, or a purge, if it is time.
    pub(super) async fn keep(&self, consensus: &Consensus) {
        // The usual case, without a look at the disk.
        if self.log.bytes_behind(None) <= self.bytes {
            return;
        }
        let allowed = self.bytes.max(self.snapshot.bytes());
        let snapshot = consensus.metrics().snapshot.map(|at| at.index);
        let trigger = consensus.raft.trigger();
        // An error says that the core has stopped: `follow` sees that too.
        if self.log.bytes_behind(snapshot) > allowed {
            let _ = trigger.snapshot().await;
        } else if let (Some(excess), Some(snapshot)) = (self.log.excess(2 * allowed), snapshot) {
            let _ = trigger.purge_log(excess.min(snapshot)).await;
        }
    }
}
