//! Keeps one actor per assigned task: starts those that are new, tells the others what changed, removes those that are no
//! longer assigned. After a restart of the daemon it goes on from the ledger, before any manager was heard.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use swarm_api::Task;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::assignment::Assignments;
use crate::controller::Executor;
use crate::ledger::Ledger;
use crate::report::Reports;
use crate::task::{Order, TaskActor};

/// The worker of a node.
pub struct Worker {
    executor: Arc<dyn Executor>,
    ledger: Ledger,
    reports: Reports,
    orders: HashMap<String, watch::Sender<Order>>,
    actors: JoinSet<(String, bool)>,
    cancel: CancellationToken,
}

impl Worker {
    /// A worker with the tasks of `ledger`.
    pub fn restore(
        executor: Arc<dyn Executor>,
        ledger: Ledger,
        reports: Reports,
        cancel: CancellationToken,
    ) -> io::Result<Self> {
        let tasks = ledger.tasks()?;
        let mut worker = Self {
            executor,
            ledger,
            reports,
            orders: HashMap::new(),
            actors: JoinSet::new(),
            cancel,
        };
        for task in tasks {
            // The managers may not know the last status.
            worker.reports.put(&task, task.status.clone().unwrap_or_default());
            worker.spawn(task);
        }
        Ok(worker)
    }

    /// Follows the assignments until cancelled; then waits for the actors to let go of their containers.
    pub async fn run(mut self, mut assignments: watch::Receiver<Option<Arc<Assignments>>>) {
        loop {
            // Before the first word of a manager the tasks of the ledger go on as they were.
            if let Some(set) = assignments.borrow_and_update().clone() {
                self.sync(&set);
            }
            tokio::select! {
                () = self.cancel.cancelled() => break,
                changed = assignments.changed() => if changed.is_err() { break },
                Some(ended) = self.actors.join_next() => self.ended(ended),
            }
        }
        while self.actors.join_next().await.is_some() {}
    }

    fn sync(&mut self, set: &Assignments) {
        for task in set.tasks.values() {
            match self.orders.get(&task.id) {
                Some(orders) => {
                    orders.send_if_modified(|order| update(order, task));
                }
                None => self.spawn(task.clone()),
            }
        }
        for (id, orders) in &self.orders {
            if !set.tasks.contains_key(id) {
                orders.send_if_modified(|order| {
                    !matches!(std::mem::replace(order, Order::Remove), Order::Remove)
                });
            }
        }
    }

    fn spawn(&mut self, task: Task) {
        let id = task.id.clone();
        let (orders, receiver) = watch::channel(Order::Run(Box::new(task.clone())));
        self.orders.insert(id.clone(), orders);
        let actor = TaskActor::new(
            task.clone(),
            self.executor.controller(&task),
            receiver,
            self.reports.clone(),
            self.cancel.child_token(),
        );
        self.actors.spawn(async move { (id, actor.run().await) });
    }

    fn ended(&mut self, ended: Result<(String, bool), tokio::task::JoinError>) {
        match ended {
            Ok((id, removed)) => {
                self.orders.remove(&id);
                if removed {
                    self.ledger.forget(&id);
                }
            }
            // An actor that panicked has left its task in an unknown state: the daemon must not go on as if it had not.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Replaces an order if the task differs in what an actor follows.
fn update(order: &mut Order, task: &Task) -> bool {
    match order {
        Order::Run(known) if known.desired_state == task.desired_state => false,
        Order::Run(known) => {
            **known = task.clone();
            true
        }
        Order::Remove => false,
    }
}
