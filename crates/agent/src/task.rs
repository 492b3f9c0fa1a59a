//! One actor per task: drives its controller step by step and reports each state. It decides nothing about restarts; that is
//! the managers' part. It lives until the task is taken from this node, and removes the container then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_api::time::timestamp;
use swarm_api::{Task, TaskState, TaskStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::{Controller, Exit, StepError};
use crate::report::Reports;
use crate::step::{Step, failure_of, next};

/// A step that may pass by itself is tried again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// and at most so often, so that a task that cannot be prepared is given back to the managers.
const RETRIES_MAX: u32 = 30;

/// What the worker tells an actor.
#[derive(Debug, Clone)]
pub enum Order {
    /// Bring the task to its desired state.
    Run(Box<Task>),
    /// End it and remove all traces.
    Remove,
}

/// One task on this node.
pub struct TaskActor {
    task: Task,
    status: TaskStatus,
    controller: Arc<dyn Controller>,
    orders: watch::Receiver<Order>,
    reports: Reports,
    cancel: CancellationToken,
}

impl TaskActor {
    /// An actor for `task`, which goes on from the state in its status.
    pub fn new(
        task: Task,
        controller: Arc<dyn Controller>,
        orders: watch::Receiver<Order>,
        reports: Reports,
        cancel: CancellationToken,
    ) -> Self {
        let status = task.status.clone().unwrap_or_default();
        Self { task, status, controller, orders, reports, cancel }
    }

    /// Runs until the task is removed (true) or the daemon stops (false); in the latter case the container goes on.
    pub async fn run(mut self) -> bool {
        self.take_up().await;
        loop {
            if self.ordered_away() {
                self.remove().await;
                return true;
            }
            match next(self.status.state(), self.task.desired_state()) {
                Step::Accept => self.enter(TaskState::Accepted, "accepted").await,
                Step::Prepare => self.prepare().await,
                Step::Start => self.start().await,
                Step::Wait => self.wait().await,
                Step::Shutdown => self.shutdown().await,
                Step::Idle => {
                    let cancel = self.cancel.clone();
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        changed = self.orders.changed() => if changed.is_err() { return false },
                    }
                }
            }
            if self.cancel.is_cancelled() {
                return false;
            }
        }
    }

    /// What a restart of the daemon has interrupted.
    async fn take_up(&mut self) {
        let result = match self.status.state() {
            TaskState::Ready | TaskState::Starting | TaskState::Running => {
                self.controller.resume().await
            }
            state if state > TaskState::Running => self.controller.release().await,
            _ => return,
        };
        if let Err(error) = result {
            tracing::warn!(task = %self.task.id, %error, "take up after a restart");
        }
    }

    /// Takes the newest order in. True if the task is to be removed.
    fn ordered_away(&mut self) -> bool {
        match &*self.orders.borrow_and_update() {
            Order::Run(task) => {
                // Desired states only move forward.
                if task.desired_state() > self.task.desired_state() {
                    self.task.desired_state = task.desired_state;
                }
                false
            }
            Order::Remove => true,
        }
    }

    async fn prepare(&mut self) {
        self.enter(TaskState::Preparing, "preparing").await;
        let controller = self.controller.clone();
        match self.attempt(move || prepare_once(controller.clone())).await {
            Some(Ok(())) => self.enter(TaskState::Ready, "prepared").await,
            Some(Err(error)) => self.fail(error.to_string()).await,
            None => {}
        }
    }

    async fn start(&mut self) {
        self.enter(TaskState::Starting, "starting").await;
        let controller = self.controller.clone();
        match self.attempt(move || start_once(controller.clone())).await {
            Some(Ok(())) => self.enter(TaskState::Running, "started").await,
            Some(Err(error)) => {
                let _ = self.controller.shutdown().await;
                self.fail(error.to_string()).await;
            }
            None => {}
        }
    }

    async fn wait(&mut self) {
        let controller = self.controller.clone();
        match self.attempt(move || wait_once(controller.clone())).await {
            Some(Ok(Exit { code: 0, detail: None })) => {
                self.enter(TaskState::Complete, "finished").await;
            }
            Some(Ok(Exit { code, detail })) => {
                let detail = detail.map(|d| format!(": {d}")).unwrap_or_default();
                self.fail(format!("task: non-zero exit ({code}){detail}")).await;
            }
            Some(Err(error)) => self.fail(error.to_string()).await,
            None => {}
        }
    }

    async fn shutdown(&mut self) {
        let (controller, cancel) = (self.controller.clone(), self.cancel.clone());
        // A daemon that stops does not wait for grace periods: the next one goes on with it.
        match cancel.run_until_cancelled(controller.shutdown()).await {
            Some(Ok(())) => self.enter(TaskState::Shutdown, "shutdown").await,
            Some(Err(error)) => self.fail(error.to_string()).await,
            None => {}
        }
    }

    async fn remove(&mut self) {
        // Nothing can be done about a failure but to say so; what is left is swept when the daemon starts.
        if let Err(error) = self.controller.shutdown().await {
            tracing::warn!(task = %self.task.id, %error, "end container");
        }
        if let Err(error) = self.controller.remove().await {
            tracing::warn!(task = %self.task.id, %error, "remove container");
        }
    }

    /// Runs a step, again after temporary errors, until it succeeds, fails, or an order makes it pointless (`None`).
    async fn attempt<T, F>(&mut self, step: impl Fn() -> F) -> Option<Result<T, StepError>>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        for _ in 0..RETRIES_MAX {
            match self.unless_ordered(step()).await? {
                Err(StepError::Temporary(reason)) => {
                    self.note(&reason).await;
                    self.unless_ordered(tokio::time::sleep(RETRY_DELAY)).await?;
                }
                other => return Some(other),
            }
        }
        Some(Err(StepError::Fatal(self.status.message.clone())))
    }

    /// The future's result, or `None` once an order wants something else or the daemon stops.
    async fn unless_ordered<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let cancel = self.cancel.clone();
        tokio::pin!(future);
        loop {
            tokio::select! {
                result = &mut future => return Some(result),
                () = cancel.cancelled() => return None,
                changed = self.orders.changed() => {
                    let away = changed.is_err() || self.ordered_away();
                    if away || self.task.desired_state() >= TaskState::Shutdown {
                        // Keep the order visible for the main loop.
                        self.orders.mark_changed();
                        return None;
                    }
                }
            }
        }
    }

    /// Why the present state lasts, in words.
    async fn note(&mut self, message: &str) {
        if self.status.message != message {
            self.status.message = message.to_owned();
            self.reports.put(&self.task, self.status.clone());
        }
    }

    async fn fail(&mut self, error: String) {
        let state = failure_of(self.status.state());
        self.status.err = error.clone();
        self.enter(state, &error).await;
    }

    async fn enter(&mut self, state: TaskState, message: &str) {
        if state <= self.status.state() {
            return;
        }
        self.status.set_state(state);
        message.clone_into(&mut self.status.message);
        self.status.timestamp = Some(timestamp(SystemTime::now()));
        if state >= TaskState::Ready {
            self.status.container = self.controller.status().await.or(self.status.container.take());
            self.status.host_ports = self.controller.host_ports().await;
        }
        if state > TaskState::Running
            && let Err(error) = self.controller.release().await
        {
            tracing::warn!(task = %self.task.id, %error, "give back the network of an ended task");
        }
        self.reports.put(&self.task, self.status.clone());
    }
}

async fn prepare_once(controller: Arc<dyn Controller>) -> Result<(), StepError> {
    controller.prepare().await
}

async fn start_once(controller: Arc<dyn Controller>) -> Result<(), StepError> {
    controller.start().await
}

async fn wait_once(controller: Arc<dyn Controller>) -> Result<Exit, StepError> {
    controller.wait().await
}
