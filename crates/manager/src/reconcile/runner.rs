//! The loop around the pass: an idle reconciler acts at once on a commit, what happens meanwhile joins the next pass. The
//! only place of the reconciler that reads the clock, draws ids and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt;
use swarm_raft_store::{Lagged, Store, StoreError, Subscription};
use tokio_util::sync::CancellationToken;

use super::{Plan, Scope, pass_over};
use crate::clock::Clock;

/// Passes in a row that each wrote something before the loop slows down: an update of many slots takes fewer, so more mean
/// that two rules disagree, and that must not eat the machine.
const MAX_BURST: u32 = 1000;
/// Pause between passes from then on.
const BURST_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a pass is tried again after a write that found no majority.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Commits taken in one go before a pass.
const MAX_JOINED: usize = 10_000;

/// Why reconciling ended.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// This manager leads no more.
    #[error("reconciling ended with the leadership: {0}")]
    NotLeader(#[source] StoreError),
    /// The store does not take writes any more.
    #[error("reconcile: {0}")]
    Store(#[source] StoreError),
}

/// Reconciles until cancelled, or until the store refuses for good.
pub async fn run(store: Store, cancel: CancellationToken) -> Result<(), ReconcileError> {
    run_by(store, Clock::system(), cancel).await
}

/// As [`run`], by a clock of one's own.
pub async fn run_by(
    store: Store,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<(), ReconcileError> {
    let events = store.subscribe();
    let mut runner = Runner::new(store, clock);
    tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = runner.run(events) => ended,
    }
}

/// What is remembered between passes. All of it can be found again from the store.
pub(super) struct Runner {
    store: Store,
    clock: Clock,
    scope: Scope,
    wakes: BTreeMap<String, i64>,
    waiting: BTreeSet<String>,
}

impl Runner {
    pub(super) fn new(store: Store, clock: Clock) -> Runner {
        let (wakes, waiting) = (BTreeMap::new(), BTreeSet::new());
        Runner { store, clock, scope: Scope::everything(), wakes, waiting }
    }

    async fn run(&mut self, mut events: Subscription) -> Result<(), ReconcileError> {
        let mut burst = 0;
        loop {
            if !self.gather(&mut events) {
                burst = 0;
                self.wait(&mut events).await;
                continue;
            }
            let wrote = self.step().await?;
            burst = if wrote { burst + 1 } else { 0 };
            if burst > MAX_BURST {
                tracing::error!(passes = burst, "reconciling does not come to rest");
                tokio::time::sleep(BURST_PAUSE).await;
            }
        }
    }

    /// Takes in what has happened and what is due. Returns whether there is anything to look at.
    pub(super) fn gather(&mut self, events: &mut Subscription) -> bool {
        self.join(events);
        self.wake_due();
        !self.scope.is_empty()
    }

    /// Takes in all commits that are there.
    fn join(&mut self, events: &mut Subscription) {
        for _ in 0..MAX_JOINED {
            let Some(event) = events.next().now_or_never() else { return };
            self.note(event, events);
        }
    }

    fn note(
        &mut self,
        event: Result<std::sync::Arc<swarm_raft_store::Commit>, Lagged>,
        events: &mut Subscription,
    ) {
        match event {
            Ok(commit) => commit.changes.iter().for_each(|change| self.scope.note(change)),
            Err(Lagged) => {
                events.resync();
                self.scope = Scope::everything();
            }
        }
    }

    fn wake_due(&mut self) {
        let now = self.clock.now_nanos();
        let due = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone());
        self.scope.services.extend(due);
    }

    async fn wait(&mut self, events: &mut Subscription) {
        let now = self.clock.now_nanos();
        let left = self.wakes.values().min().map(|at| at.saturating_sub(now).max(0).unsigned_abs());
        let pause = async {
            match left {
                Some(nanos) => tokio::time::sleep(Duration::from_nanos(nanos)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => self.note(event, events),
            () = pause => {}
        }
    }

    /// One pass, one transaction. Returns whether something was written.
    pub(super) async fn step(&mut self) -> Result<bool, ReconcileError> {
        let mut scope = std::mem::take(&mut self.scope);
        if scope.retry_waiting {
            scope.services.extend(self.waiting.iter().cloned());
        }
        let now = self.clock.now_nanos();
        let decided = self
            .store
            .transact(now, |tx| {
                let plan = pass_over(tx.view(), now, &mut swarm_api::id::random_id, &scope);
                let complete = plan.apply(tx)?;
                Ok::<_, StoreError>((plan, complete))
            })
            .await;
        match decided {
            Ok((plan, complete)) => {
                self.remember(&plan);
                if !complete {
                    self.scope = scope;
                }
                Ok(!plan.is_empty())
            }
            Err(error) => {
                self.scope = scope;
                retry(error).await.map(|()| false)
            }
        }
    }

    fn remember(&mut self, plan: &Plan) {
        for (service_id, wake) in &plan.wakes {
            self.waiting.remove(service_id);
            match wake {
                Some(at) => self.wakes.insert(service_id.clone(), *at),
                None => self.wakes.remove(service_id),
            };
        }
        self.waiting.extend(plan.waiting.iter().cloned());
    }
}

/// Pauses after an error that may pass; returns one that does not.
async fn retry(error: StoreError) -> Result<(), ReconcileError> {
    match error {
        StoreError::NotLeader { .. } => Err(ReconcileError::NotLeader(error)),
        StoreError::Fatal(_) => Err(ReconcileError::Store(error)),
        other => {
            tracing::warn!(error = %other, "decisions were not written; trying again");
            tokio::time::sleep(RETRY_PAUSE).await;
            Ok(())
        }
    }
}
