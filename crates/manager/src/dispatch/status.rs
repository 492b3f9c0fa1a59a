//! Status reports of agents: taken together for a moment, written in as few transactions as their size allows, answered
//! once they are safe.

use std::time::Duration;

use prost::Message;
use swarm_api::time::from_nanos;
use swarm_api::{Task, TaskState, TaskStatus, TaskStatusUpdate};
use swarm_raft_store::{StoreError, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::{DispatchError, Shared};
use crate::budget::Budget;

/// How long a report waits for others: far below what anybody notices, and one commit then serves a whole burst.
const GATHER: Duration = Duration::from_millis(5);
/// Updates taken together.
const MAX_UPDATES: usize = 5000;
/// Reports that may wait; agents whose report does not find room wait themselves.
pub(super) const MAX_REPORTS: usize = 1024;

/// One call of an agent.
pub(super) struct Report {
    pub(super) node_id: String,
    pub(super) updates: Vec<TaskStatusUpdate>,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Writes reports until the store refuses for good.
pub(super) async fn write(
    shared: &Shared,
    reports: &mut mpsc::Receiver<Report>,
) -> Result<(), DispatchError> {
    while let Some(first) = reports.recv().await {
        let batch = gather(first, reports).await;
        let written = write_batch(shared, &batch).await;
        for report in batch {
            // An agent that does not wait any more reports again.
            let _ = report.done.send(written.clone());
        }
        if let Err(error @ (StoreError::NotLeader { .. } | StoreError::Fatal(_))) = written {
            return Err(DispatchError::Store(error));
        }
    }
    Ok(())
}

/// Writes all updates, one commit's worth at a time: each writes its whole task.
async fn write_batch(shared: &Shared, batch: &[Report]) -> Result<(), StoreError> {
    let each = batch.iter().flat_map(|r| r.updates.iter().map(|u| (r.node_id.as_str(), u)));
    let all: Vec<(&str, &TaskStatusUpdate)> = each.collect();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let now = shared.clock.now_nanos();
        let written = shared.store.transact(now, |tx| write_some(tx, rest, now)).await?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Writes as many as fit into one commit, at least one. Returns how many.
fn write_some(
    tx: &mut Transaction,
    updates: &[(&str, &TaskStatusUpdate)],
    now: i64,
) -> Result<usize, StoreError> {
    let mut budget = Budget::new();
    for (index, (node_id, update)) in updates.iter().enumerate() {
        let Some(task) = changed(tx, node_id, update, now) else { continue };
        if !budget.take(task.encoded_len()) {
            return Ok(index);
        }
        tx.update(task)?;
    }
    Ok(updates.len())
}

async fn gather(first: Report, reports: &mut mpsc::Receiver<Report>) -> Vec<Report> {
    let mut count = first.updates.len();
    let mut batch = vec![first];
    let until = tokio::time::Instant::now() + GATHER;
    while count < MAX_UPDATES {
        match tokio::time::timeout_at(until, reports.recv()).await {
            Ok(Some(report)) => {
                count += report.updates.len();
                batch.push(report);
            }
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

/// The task with the update, unless that is late: of a task that is gone, or a state that the task has left behind. Times
/// are the leader's: agents' clocks differ, and delays are counted from these.
fn changed(tx: &Transaction, node_id: &str, update: &TaskStatusUpdate, now: i64) -> Option<Task> {
    let (task, status) = (tx.view().get::<Task>(&update.task_id)?, update.status.as_ref()?);
    if task.node_id != *node_id || !is_news(task, status) {
        return None;
    }
    let mut task = task.clone();
    let advances = status.state() > task.state();
    let had = task.status.as_ref().and_then(|s| s.timestamp);
    let timestamp = if advances { Some(from_nanos(now)) } else { had };
    if advances && status.state() == TaskState::Running {
        // From now on it means: since when it runs. Updates tell an early failure from a late one by it.
        task.start_after = timestamp;
    }
    task.status = Some(TaskStatus { timestamp, ..status.clone() });
    Some(task)
}

fn is_news(task: &Task, status: &TaskStatus) -> bool {
    let reportable = TaskState::Assigned..=TaskState::Rejected;
    if !reportable.contains(&status.state()) || task.is_terminal() {
        return false;
    }
    let same = |had: &TaskStatus| {
        let timestamp = had.timestamp;
        TaskStatus { timestamp, ..status.clone() } == *had
    };
    status.state() >= task.state() && !task.status.as_ref().is_some_and(same)
}
