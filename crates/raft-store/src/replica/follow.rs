//! Follows the core's metrics: who leads, who is in the group, and whether the core still lives; and
//! has the log kept within its bound. Says who does not answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::time::Instant;

use super::Replica;
use super::bound::Bound;
use crate::MemberState;
use crate::consensus::{Consensus, STOPPED};

impl Replica {
    /// Starts following `consensus`, until shutdown.
    pub(super) fn follow(&self, consensus: Arc<Consensus>) {
        let (leadership, fatal) = (self.0.leadership.clone(), self.0.fatal.clone());
        let replica = self.clone();
        let cancel = self.0.cancel.clone();
        // Time alone ends a leadership that no majority confirms.
        let mut clock = tokio::time::interval(self.0.config.heartbeat);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let bound = Bound {
            log: self.0.log.clone(),
            snapshot: self.0.snapshot.clone(),
            bytes: self.0.config.snapshot_bytes,
        };
        self.0.tasks.spawn(async move {
            let mut metrics = consensus.raft.metrics();
            let mut silent = Silent::new();
            loop {
                let alive = tokio::select! {
                    () = cancel.cancelled() => return,
                    changed = metrics.changed() => changed.is_ok(),
                    _ = clock.tick() => {
                        bound.keep(&consensus).await;
                        replica.finish_change(&consensus);
                        true
                    }
                };
                let now = consensus.leadership();
                leadership.send_if_modified(|was| {
                    let differs = *was != now;
                    was.clone_from(&now);
                    differs
                });
                replica.follow_group(&consensus);
                note_silence(&mut silent, &consensus);
                let state = metrics.borrow_watched().running_state.clone();
                let text = match state {
                    Ok(()) if alive => continue,
                    Ok(()) | Err(Fatal::Stopped) => STOPPED.to_owned(),
                    Err(error) => error.to_string(),
                };
                // Its end is what shutdown asked for.
                if !cancel.is_cancelled() {
                    fatal.send_if_modified(|was| was.is_none() && was.replace(text).is_none());
                }
                return;
            }
        });
    }

    /// Takes up a change of the voters that nobody sees to any more.
    fn finish_change(&self, consensus: &Arc<Consensus>) {
        if !consensus.leads_joint() {
            return;
        }
        let (replica, consensus) = (self.clone(), Arc::clone(consensus));
        let cancel = self.0.cancel.clone();
        self.0.tasks.spawn(cancel.run_until_cancelled_owned(async move {
            // Whoever holds it is at it.
            let Ok(_turn) = replica.0.changing.try_lock() else { return };
            if let Err(error) = consensus.finish_change().await {
                tracing::debug!(%error, "a change of the managers is not finished yet");
            }
        }));
    }

    /// Tells who is in the group now, if that has changed.
    fn follow_group(&self, consensus: &Consensus) {
        let now = consensus.group();
        self.0.group.send_if_modified(|was| {
            let differs = *was != now;
            if differs {
                self.0.departed.note(was, &now);
                was.clone_from(&now);
            }
            differs
        });
    }
}

/// Members that do not answer: since when, and whether that was said.
type Silent = BTreeMap<String, (Instant, bool)>;

/// Says once, on the leader, that a member answers no more, and that it does again. One that the
/// leader has only not heard of yet is given the time of a lease.
fn note_silence(silent: &mut Silent, consensus: &Consensus) {
    if !consensus.leadership().is_leader {
        return silent.clear();
    }
    let members = consensus.members();
    silent.retain(|node_id, _| members.iter().any(|m| m.member.node_id == *node_id));
    for MemberState { member, reachable, .. } in members {
        if reachable {
            if let Some((_, true)) = silent.remove(&member.node_id) {
                tracing::info!(manager = member.node_id, addr = member.addr, "it answers again");
            }
            continue;
        }
        let (since, said) =
            silent.entry(member.node_id.clone()).or_insert_with(|| (Instant::now(), false));
        if !*said && since.elapsed() >= consensus.lease {
            *said = true;
            tracing::warn!(manager = member.node_id, addr = member.addr, "it does not answer");
        }
    }
}
