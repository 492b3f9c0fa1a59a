//! Spare managers: where the user asked for it, a manager that was lost for long is replaced by a node that was set aside for
//! this, and is a worker when it comes back.
//!
//! It only writes wishes, as a user would with `node promote` and `node demote`; the role manager carries them out. Runs on
//! the leader: a new leader counts silence anew.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_api::time::or_default;
use swarm_api::{ClusterSpec, Node, NodeAvailability, NodeRole};
use swarm_raft_store::{MemberState, Removal, Store, StoreError, View};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::quorum::Quorum;
use crate::refusal::Refusal;

/// The label of a node that may become a manager by itself; its value must be "true".
pub const LABEL: &str = "swarm.spare-manager";
/// How long a manager must have been silent, unless the cluster says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// How often the managers are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This worker is to be a manager.
    Promote(String),
    /// This manager is to be a worker.
    Demote(String),
}

/// Since when managers have been silent, by node id, nanoseconds since the epoch.
#[derive(Debug, Default)]
pub struct Silence(BTreeMap<String, i64>);

impl Silence {
    /// Notes who answers and who does not.
    pub fn note(&mut self, members: &[MemberState], now: i64) {
        let silent = |m: &&MemberState| m.voter && !m.reachable && !m.is_leader;
        let silent: Vec<&str> =
            members.iter().filter(silent).map(|m| m.member.node_id.as_str()).collect();
        self.0.retain(|node_id, _| silent.contains(&node_id.as_str()));
        for node_id in silent {
            self.0.entry(node_id.to_owned()).or_insert(now);
        }
    }

    /// Those that have been silent for this long, the longest first.
    fn lost(&self, now: i64, patience: Duration) -> Vec<&str> {
        let patience = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        let mut lost: Vec<(&String, &i64)> =
            self.0.iter().filter(|(_, since)| now.saturating_sub(**since) >= patience).collect();
        lost.sort_by_key(|(node_id, since)| (**since, (*node_id).clone()));
        lost.into_iter().map(|(node_id, _)| node_id.as_str()).collect()
    }
}

/// One step towards as many managers that answer as the cluster wants; `None` while there is nothing to do, no node to do it
/// with, or a change of managers under way.
pub fn next_step(
    view: &View,
    members: &[MemberState],
    silence: &Silence,
    now: i64,
) -> Option<Step> {
    let spec = view.cluster()?.spec.as_ref()?;
    let wanted = usize::try_from(spec.spare_managers).unwrap_or(usize::MAX);
    let lost = silence.lost(now, patience(spec));
    if wanted == 0 || lost.is_empty() || is_changing(view, members) {
        return None;
    }
    let answers = |m: &&MemberState| m.voter && (m.reachable || m.is_leader);
    if members.iter().filter(answers).count() < wanted {
        return spare(view).map(|node| Step::Promote(node.id.clone()));
    }
    let leaver = lost
        .into_iter()
        .find(|id| Removal::of(members, |m| m.member.node_id == **id).keeps_quorum());
    leaver.map(|node_id| Step::Demote(node_id.to_owned()))
}

fn patience(spec: &ClusterSpec) -> Duration {
    or_default(spec.spare_after.as_ref(), PATIENCE)
}

/// Whether some node's role is not what it is to be, or a manager is not one of the voters yet.
fn is_changing(view: &View, members: &[MemberState]) -> bool {
    let votes = |node: &Node| members.iter().any(|m| m.voter && m.member.node_id == node.id);
    view.all::<Node>().any(|node| {
        let wished = node.spec.as_ref().is_some_and(|s| s.desired_role() == node.role());
        // One that was promoted and is gone before it could join holds up nobody.
        !wished || (node.role() == NodeRole::Manager && node.is_ready() && !votes(node))
    })
}

/// A ready worker that was set aside; of several the first by id.
fn spare(view: &View) -> Option<&Node> {
    view.all::<Node>().find(|node| {
        let Some(spec) = &node.spec else { return false };
        let label = spec.annotations.as_ref().and_then(|a| a.labels.get(LABEL));
        label.is_some_and(|value| value == "true")
            && spec.desired_role() == NodeRole::Worker
            && spec.availability() != NodeAvailability::Drain
            && node.role() == NodeRole::Worker
            && node.is_ready()
    })
}

/// Takes the steps. Runs on the leader.
pub struct SpareKeeper {
    store: Store,
    quorum: Quorum,
    clock: Clock,
}

impl SpareKeeper {
    /// For the managers of `quorum`, by the time of `clock`.
    pub fn new(store: Store, quorum: Quorum, clock: Clock) -> Self {
        Self { store, quorum, clock }
    }

    /// Runs until cancelled. An error means that this manager can no longer lead.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Refusal> {
        let mut silence = Silence::default();
        let mut looks = tokio::time::interval(LOOK);
        while cancel.run_until_cancelled(looks.tick()).await.is_some() {
            let (members, now) = (self.quorum.members(), self.clock.now_nanos());
            silence.note(&members, now);
            let Some(step) = next_step(&self.store.view(), &members, &silence, now) else {
                continue;
            };
            match self.take(&step).await {
                Ok(()) => tracing::warn!(?step, "a manager has been lost for long"),
                Err(error @ (StoreError::Fatal(_) | StoreError::NotLeader { .. })) => {
                    return Err(error.into());
                }
                Err(error) => tracing::warn!(?step, %error, "replace a lost manager"),
            }
        }
        Ok(())
    }

    async fn take(&self, step: &Step) -> Result<(), StoreError> {
        let (node_id, role) = match step {
            Step::Promote(node_id) => (node_id, NodeRole::Manager),
            Step::Demote(node_id) => (node_id, NodeRole::Worker),
        };
        self.store
            .transact(self.clock.now_nanos(), |tx| {
                let Some(mut node) = tx.view().get::<Node>(node_id).cloned() else { return Ok(()) };
                node.spec.get_or_insert_default().set_desired_role(role);
                tx.update(node)
            })
            .await
    }
}

#[cfg(test)]
mod tests;
