//! Who is alive: nodes that miss their heartbeats are declared down, and not before this leader could have heard of them.

use std::collections::HashMap;
use std::time::Duration;

use swarm_api::time::{from_nanos, or_default};
use swarm_api::{Node, NodeState};
use swarm_raft_store::{StoreError, View};
use tokio::time::Instant;

use super::{DispatchError, Shared};

/// Time between heartbeats where the cluster says nothing.
const DEFAULT_PERIOD: Duration = Duration::from_secs(1);
/// Shortest period that is honoured: below it, looking for the dead would be all that managers do.
const MIN_PERIOD: Duration = Duration::from_millis(100);
/// Heartbeats missed until a node is declared down.
const MISSED: u32 = 4;
/// What a new leader grants beyond that: agents first have to find it.
const SEARCH: Duration = Duration::from_secs(5);
/// How often per period the deadlines are looked at.
const CHECKS_PER_PERIOD: u32 = 4;

/// Time between heartbeats.
pub(super) fn period(view: &View) -> Duration {
    let spec = view.cluster().and_then(|c| c.spec.as_ref());
    or_default(spec.and_then(|s| s.heartbeat_period.as_ref()), DEFAULT_PERIOD).max(MIN_PERIOD)
}

/// How long a node counts as alive after it was heard of.
pub(super) fn grace(view: &View) -> Duration {
    period(view) * MISSED
}

/// Looks for the dead until the store refuses for good.
pub(super) async fn watch(shared: &Shared) -> Result<(), DispatchError> {
    let mut unheard: HashMap<String, Instant> = HashMap::new();
    loop {
        let view = shared.store.view();
        tokio::time::sleep(period(&view) / CHECKS_PER_PERIOD).await;
        let view = shared.store.view();
        let mut lost: Vec<String> = Vec::new();
        for session in shared.sessions.overdue() {
            if shared.sessions.close(&session) {
                lost.push(session.node_id.clone());
            }
        }
        lost.extend(silent(shared, &view, &mut unheard));
        if !lost.is_empty() {
            let silent = |id: &str| !shared.sessions.has(id);
            declare(shared, &lost, NodeState::NodeDown, "heartbeat failure", silent).await?;
        }
    }
}

/// Nodes that should be there, and have had no session for too long.
fn silent(shared: &Shared, view: &View, unheard: &mut HashMap<String, Instant>) -> Vec<String> {
    let limit = grace(view) + SEARCH;
    let expected = |n: &&Node| !n.is_down() && !shared.sessions.has(&n.id);
    let missing: Vec<&Node> = view.all::<Node>().filter(expected).collect();
    unheard.retain(|id, _| missing.iter().any(|n| n.id == *id));
    let now = Instant::now();
    // This leader's first look at a node is when its grace begins.
    let mut since = |n: &Node| *unheard.entry(n.id.clone()).or_insert(now);
    let overdue = missing.into_iter().filter(|n| now.duration_since(since(n)) >= limit);
    overdue.map(|n| n.id.clone()).collect()
}

/// Notes a state of the node, and since when it has it.
pub(super) fn mark(node: &mut Node, to: NodeState, message: &str, now: i64) {
    let changes = node.state() != to;
    let status = node.status.get_or_insert_default();
    if changes {
        status.set_state(to);
        status.since = Some(from_nanos(now));
    }
    message.clone_into(&mut status.message);
}

/// Writes the state of those nodes of which it still holds. Errors that pass are left to the next round.
pub(super) async fn declare(
    shared: &Shared,
    nodes: &[String],
    to: NodeState,
    message: &str,
    still: impl Fn(&str) -> bool,
) -> Result<(), DispatchError> {
    let now = shared.clock.now_nanos();
    let written = shared
        .store
        .transact(now, |tx| {
            for id in nodes.iter().filter(|id| still(id)) {
                let Some(mut node) = tx.view().get::<Node>(id).cloned() else { continue };
                if node.state() == to {
                    continue;
                }
                mark(&mut node, to, message, now);
                tx.update(node)?;
            }
            Ok::<(), StoreError>(())
        })
        .await;
    match written {
        Ok(()) => {
            tracing::info!(?nodes, state = to.as_str_name(), message, "the state of nodes changed");
            Ok(())
        }
        Err(error @ (StoreError::NotLeader { .. } | StoreError::Fatal(_))) => {
            Err(DispatchError::Store(error))
        }
        Err(error) => {
            tracing::warn!(?nodes, %error, "the state of nodes was not written");
            Ok(())
        }
    }
}
