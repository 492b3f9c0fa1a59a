//! Statuses on their way to the managers: only the newest of each task is kept, written to the ledger first, sent in batches,
//! and sent again until accepted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_api::{Task, TaskStatus, TaskStatusUpdate};
use tokio::sync::Notify;

use crate::ledger::Ledger;

/// Statuses in one call: a message stays far below gRPC's 4 MiB.
const BATCH_MAX: usize = 2_000;

/// A shared handle to the pending statuses.
#[derive(Clone)]
pub struct Reports {
    shared: Arc<Shared>,
}

struct Shared {
    // A std mutex: nothing awaits while it is held.
    pending: Mutex<BTreeMap<String, TaskStatus>>,
    wake: Notify,
    ledger: Ledger,
}

impl Reports {
    /// No pending statuses yet.
    pub fn new(ledger: Ledger) -> Self {
        let shared = Shared { pending: Mutex::default(), wake: Notify::new(), ledger };
        Self { shared: Arc::new(shared) }
    }

    /// A task's newest status.
    pub fn put(&self, task: &Task, status: TaskStatus) {
        self.shared.ledger.record(task, &status);
        self.lock().insert(task.id.clone(), status);
        self.shared.wake.notify_one();
    }

    /// Waits until something is pending, then takes a batch of it.
    pub async fn take(&self) -> Vec<TaskStatusUpdate> {
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                return batch;
            }
            self.shared.wake.notified().await;
        }
    }

    /// Puts back what was not accepted, unless something newer came meanwhile.
    pub fn give_back(&self, updates: Vec<TaskStatusUpdate>) {
        let mut pending = self.lock();
        for update in updates {
            if let Some(status) = update.status {
                pending.entry(update.task_id).or_insert(status);
            }
        }
        self.shared.wake.notify_one();
    }

    fn batch(&self) -> Vec<TaskStatusUpdate> {
        let mut pending = self.lock();
        let ids: Vec<String> = pending.keys().take(BATCH_MAX).cloned().collect();
        ids.into_iter()
            .filter_map(|task_id| {
                let status = pending.remove(&task_id);
                status.map(|status| TaskStatusUpdate { task_id, status: Some(status) })
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TaskStatus>> {
        // A map of statuses is whole after any panic.
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_api::TaskState;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { state: state.into(), ..TaskStatus::default() }
    }

    #[tokio::test]
    async fn only_the_newest_status_of_a_task_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let reports = Reports::new(Ledger::open(dir.path()).unwrap());
        let task = Task { id: "t1".into(), ..Task::default() };
        reports.put(&task, status(TaskState::Accepted));
        reports.put(&task, status(TaskState::Preparing));
        let batch = reports.take().await;
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].status.as_ref().unwrap().state(), TaskState::Preparing);
    }

    #[tokio::test]
    async fn a_refused_batch_does_not_overwrite_what_is_newer() {
        let dir = tempfile::tempdir().unwrap();
        let reports = Reports::new(Ledger::open(dir.path()).unwrap());
        let task = Task { id: "t1".into(), ..Task::default() };
        reports.put(&task, status(TaskState::Accepted));
        let batch = reports.take().await;
        reports.put(&task, status(TaskState::Running));
        reports.give_back(batch);
        let again = reports.take().await;
        assert_eq!(again[0].status.as_ref().unwrap().state(), TaskState::Running);
    }
}
