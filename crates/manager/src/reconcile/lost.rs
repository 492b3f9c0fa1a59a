//! Tasks of nodes that have been down for long: nobody waits any more for what became of them.

use std::time::Duration;

use swarm_api::time::to_nanos;
use swarm_api::{Node, TaskState};

use super::draft::Draft;
use super::restart::nanos;
use super::slot::is_on_node;
use super::wake::Wake;

/// How long a node may be down until its tasks count as lost. Their history, addresses and ports are free then; should
/// the node come back, it is told to stop them.
const LOST_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Orphans the service's tasks on nodes that have been down for too long.
pub(super) fn orphan(draft: &mut Draft<'_>, service_id: &str, wake: &mut Wake) {
    let mut lost = Vec::new();
    for task in draft.tasks_of_service(service_id).filter(|t| is_on_node(t)) {
        match draft.node(&task.node_id).and_then(lost_at) {
            Some(at) if at > draft.now => wake.at(at),
            Some(_) => lost.push(task.id.clone()),
            None => {}
        }
    }
    for id in lost {
        draft.observe(&id, TaskState::Orphaned, "its node has been down for 24 hours");
    }
}

/// When the tasks of this node count as lost, if it stays down.
fn lost_at(node: &Node) -> Option<i64> {
    let since = node.status.as_ref().filter(|_| node.is_down())?.since.as_ref()?;
    Some(to_nanos(since).saturating_add(nanos(LOST_AFTER)))
}
