//! Members that were taken out of the group lately. What they still send is refused at once, though
//! this replica may not have applied yet that their node was demoted.
//!
//! It forgets: in the end the tables tell who is a manager, and a member may come back under its id.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Member;

/// Far longer than a follower takes to apply what it has in its log.
const REMEMBERED: Duration = Duration::from_secs(60);

/// When which member went, by Raft id.
#[derive(Default)]
pub(super) struct Departed(Mutex<HashMap<u64, Instant>>);

impl Departed {
    /// Notes who is no longer there.
    pub(super) fn note(&self, before: &[Member], now: &[Member]) {
        let has = |group: &[Member], id| group.iter().any(|m| m.raft_id == id);
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|id, at| at.elapsed() < REMEMBERED && !has(now, *id));
        let left = before.iter().filter(|m| !has(now, m.raft_id));
        gone.extend(left.map(|m| (m.raft_id, Instant::now())));
    }

    /// Whether this member went lately.
    pub(super) fn has(&self, raft_id: u64) -> bool {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.get(&raft_id).is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ids: &[u64]) -> Vec<Member> {
        ids.iter().map(|id| Member { raft_id: *id, ..Member::default() }).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_went_is_known_until_it_comes_back_or_a_minute_has_passed() {
        let departed = Departed::default();
        departed.note(&group(&[1, 2, 3]), &group(&[1]));
        assert!(departed.has(2) && departed.has(3) && !departed.has(1) && !departed.has(9));
        departed.note(&group(&[1]), &group(&[1, 3]));
        assert!(departed.has(2) && !departed.has(3));
        tokio::time::advance(REMEMBERED).await;
        assert!(!departed.has(2));
    }
}
