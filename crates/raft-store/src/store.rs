//! Reading, transactions and subscriptions: one interface, over Raft or alone in memory.

use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;

use crate::apply::Foresight;
use crate::batch::{Batch, Finished, check_size};
use crate::committer::Committer;
use crate::consensus::Consensus;
use crate::subscription::{Commit, Publisher, Subscription};
use crate::{Lagged, StoreError, Transaction, View};

/// Largest command, bytes encoded: a config of 1,000 KiB fits, and a follower is never sent more at
/// once than it can take in a heartbeat or two.
pub const MAX_COMMAND_BYTES: usize = 4 << 20;

/// The store. Copies share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    publisher: Arc<Publisher>,
    backend: Backend,
}

enum Backend {
    // Held from the decision until it is applied: each decision sees all before it.
    Standalone { turn: Mutex<()> },
    Replicated(Arc<Committer>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.view()).finish()
    }
}

impl Store {
    /// A store of its own, in memory: same semantics, no Raft.
    pub fn standalone() -> Store {
        Self::over(Publisher::new(), Backend::Standalone { turn: Mutex::new(()) })
    }

    /// The store of a replica.
    pub(crate) fn replicated(
        publisher: Arc<Publisher>,
        consensus: Arc<OnceLock<Arc<Consensus>>>,
        foresight: Foresight,
    ) -> Store {
        let committer = Committer::new(Arc::clone(&publisher), consensus, foresight);
        Self::over(publisher, Backend::Replicated(committer))
    }

    fn over(publisher: Arc<Publisher>, backend: Backend) -> Store {
        Store(Arc::new(Inner { publisher, backend }))
    }

    /// The newest view that is applied here. On a follower it may lag; see
    /// [`crate::Replica::read_barrier`].
    pub fn view(&self) -> View {
        self.0.publisher.view()
    }

    /// Follows all commits from now on.
    pub fn subscribe(&self) -> Subscription {
        self.0.publisher.subscribe()
    }

    /// Follows all commits after `version`, which was that of a view or a commit; [`Lagged`] if
    /// they are no longer, or not yet, known here.
    pub fn subscribe_after(&self, version: u64) -> Result<Subscription, Lagged> {
        self.0.publisher.subscribe_after(version)
    }

    /// Runs `decide` on the newest view, and returns once what it wrote is on disk on a majority
    /// and applied here.
    ///
    /// Transactions that come while another is on its way to the disks share one command and one
    /// sync, and yet each sees all before it. `decide` may run several times. If it writes nothing,
    /// nothing is proposed. `now_ns` is the caller's wall clock. Leader only ([`StoreError::NotLeader`]).
    pub async fn transact<R, E: From<StoreError>>(
        &self,
        now_ns: i64,
        decide: impl FnMut(&mut Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        self.transact_once(now_ns, "", decide).await
    }

    /// As [`Self::transact`], but at most once for this `request_id`, also across leaders: a
    /// repetition of a request that was applied fails with [`StoreError::Duplicate`], which names
    /// the version to look at. The last 10,000 are known.
    pub async fn transact_once<R, E: From<StoreError>>(
        &self,
        now_ns: i64,
        request_id: &str,
        decide: impl FnMut(&mut Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        match &self.0.backend {
            Backend::Standalone { turn } => {
                transact_alone(&self.0.publisher, turn, now_ns, request_id, decide).await
            }
            Backend::Replicated(committer) => committer.transact(now_ns, request_id, decide).await,
        }
    }
}

/// Decides and applies in one go: nobody else is asked.
async fn transact_alone<R, E: From<StoreError>>(
    publisher: &Publisher,
    turn: &Mutex<()>,
    now_ns: i64,
    request_id: &str,
    mut decide: impl FnMut(&mut Transaction) -> Result<R, E>,
) -> Result<R, E> {
    let _turn = turn.lock().await;
    let base = publisher.view();
    if let Some(version) = base.request_applied(request_id) {
        let request_id = request_id.to_owned();
        return Err(StoreError::Duplicate { request_id, version }.into());
    }
    let index = base.version() + 1;
    let mut batch = Batch::new(base, index, now_ns);
    let lost = || StoreError::Refused("the transaction was lost".to_owned());
    let mut transaction = batch.begin().ok_or_else(lost)?;
    let result = decide(&mut transaction)?;
    let Some(bytes) = transaction.cost() else { return Ok(result) };
    check_size(bytes + request_id.len(), MAX_COMMAND_BYTES)?;
    batch.keep(transaction, bytes, request_id);
    if let Some(Finished { applied, .. }) = batch.finish() {
        publisher.commit(applied.state, Commit { version: index, changes: applied.changes });
    }
    Ok(result)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
