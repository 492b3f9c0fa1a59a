//! Who is a manager: the role manager makes each node's role follow what its spec asks for, and the membership service lets
//! a promoted node's replica in.
//!
//! A promotion sets the role at once: the node then renews its certificate, starts a manager and calls `Join`. A demotion
//! removes the replica first and sets the role once that is safe. Whether it is safe was asked at the door already, so
//! that the user was told; it is asked again here, because things change.

use std::time::Duration;

use swarm_api::{ManagerStatus, Node, NodeRole};
use swarm_raft_store::{Member, Store, StoreError, View};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::quorum::{Quorum, may_leave};
use crate::refusal::Refusal;

mod service;
#[cfg(test)]
mod tests;

pub use service::MembershipService;

/// How soon a demotion that was not safe yet is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Makes roles follow wishes. Runs on the leader.
pub struct RoleManager {
    store: Store,
    quorum: Quorum,
    clock: Clock,
    own_id: String,
}

impl RoleManager {
    /// For the leader `own_id`.
    pub fn new(store: Store, quorum: Quorum, clock: Clock, own_id: String) -> Self {
        Self { store, quorum, clock, own_id }
    }

    /// Runs until cancelled. An error means that this manager can no longer lead.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Refusal> {
        let mut commits = self.store.subscribe();
        loop {
            let settled = self.align().await?;
            let retry = async {
                match settled {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = retry => {}
                () = node_change(&mut commits) => {}
            }
        }
    }

    /// One look at all nodes. False: something is to be tried again.
    async fn align(&self) -> Result<bool, Refusal> {
        let mut settled = true;
        for (node_id, wish) in unsettled(&self.store.view()) {
            let outcome = match wish {
                NodeRole::Manager => self.set_role(&node_id, NodeRole::Manager).await,
                NodeRole::Worker => self.demote(&node_id).await,
            };
            match outcome {
                Ok(()) => {}
                // The next leader goes on from here.
                Err(Refusal::Store(
                    error @ (StoreError::Fatal(_) | StoreError::NotLeader { .. }),
                )) => {
                    return Err(error.into());
                }
                Err(refusal) => {
                    tracing::info!(node = node_id, %refusal, "the change of role has to wait");
                    settled = false;
                }
            }
        }
        Ok(settled)
    }

    async fn demote(&self, node_id: &str) -> Result<(), Refusal> {
        may_leave(&self.quorum.members(), node_id, &[])?;
        // The leader does not expel itself: it hands over, and its successor does.
        if node_id == self.own_id {
            self.quorum.hand_over().await?;
            return Err(Refusal::Unavailable("leadership was handed over first".into()));
        }
        self.quorum.remove(node_id).await?;
        self.set_role(node_id, NodeRole::Worker).await
    }

    async fn set_role(&self, node_id: &str, role: NodeRole) -> Result<(), Refusal> {
        self.store
            .transact(self.clock.now_nanos(), |tx| {
                let Some(mut node) = tx.view().get::<Node>(node_id).cloned() else { return Ok(()) };
                // The wish may have changed since it was looked at.
                if node.role() == role
                    || node.spec.as_ref().is_none_or(|s| s.desired_role() != role)
                {
                    return Ok(());
                }
                take_role(&mut node, role);
                Ok(tx.update(node)?)
            })
            .await
    }
}

/// What a change of role leaves with the node.
pub(crate) fn take_role(node: &mut Node, role: NodeRole) {
    node.was_manager =
        role == NodeRole::Worker && (node.was_manager || node.role() == NodeRole::Manager);
    node.set_role(role);
    if role == NodeRole::Worker {
        node.manager_status = None;
    }
}

/// Writes down, with their nodes, where the managers are: agents learn it from there.
pub async fn note(store: &Store, clock: &Clock, members: &[Member]) -> Result<(), Refusal> {
    store
        .transact(clock.now_nanos(), |tx| {
            for member in members {
                let Some(mut node) = tx.view().get::<Node>(&member.node_id).cloned() else {
                    continue;
                };
                let status = ManagerStatus {
                    raft_id: member.raft_id,
                    addr: member.addr.clone(),
                    ..ManagerStatus::default()
                };
                if node.manager_status.as_ref() != Some(&status) {
                    node.manager_status = Some(status);
                    tx.update(node)?;
                }
            }
            Ok(())
        })
        .await
}

/// Nodes whose role is not what their spec asks for, and the wish.
fn unsettled(view: &View) -> Vec<(String, NodeRole)> {
    let wish = |node: &Node| {
        let desired = node.spec.as_ref()?.desired_role();
        (desired != node.role()).then(|| (node.id.clone(), desired))
    };
    view.all::<Node>().filter_map(wish).collect()
}

/// Nodes that are to be workers, some of which may still be managers: their going counts against those that come after.
pub fn leaving(view: &View) -> Vec<String> {
    let goes = |n: &&Node| n.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Worker);
    view.all::<Node>().filter(goes).map(|n| n.id.clone()).collect()
}

/// Waits for a commit that touches a node.
async fn node_change(commits: &mut swarm_raft_store::Subscription) {
    loop {
        let Ok(commit) = commits.next().await else {
            commits.resync();
            return;
        };
        if commit.changes.iter().any(|change| change.object::<Node>().is_some()) {
            return;
        }
    }
}
