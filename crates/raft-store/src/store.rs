//! Reading, transactions and subscriptions: one interface, over Raft or alone in memory.

use std::sync::{Arc, OnceLock};

use prost::Message;
use swarm_api::RaftCommand;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::apply::apply;
use crate::consensus::{Consensus, NotApplied};
use crate::subscription::{Commit, Publisher, Subscription};
use crate::{StoreError, Transaction, View};

/// Largest command, bytes encoded: a config of 1,000 KiB fits, and a follower is never sent more at
/// once than it can take in a heartbeat or two.
pub const MAX_COMMAND_BYTES: usize = 4 << 20;

/// How often a transaction is decided anew when another write came between. Writers take turns, so
/// once is rare.
const MAX_ATTEMPTS: usize = 8;

/// The store. Copies share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    publisher: Arc<Publisher>,
    backend: Backend,
    // Held from the decision until its command is applied: each decision sees all before it.
    turn: Arc<Mutex<()>>,
}

enum Backend {
    Standalone,
    // Empty until the replica is in a group.
    Replicated(Arc<OnceLock<Arc<Consensus>>>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.view()).finish()
    }
}

impl Store {
    /// A store of its own, in memory: same semantics, no Raft.
    pub fn standalone() -> Store {
        Self::over(Publisher::new(), Backend::Standalone)
    }

    /// The store of a replica.
    pub(crate) fn replicated(
        publisher: Arc<Publisher>,
        consensus: Arc<OnceLock<Arc<Consensus>>>,
    ) -> Store {
        Self::over(publisher, Backend::Replicated(consensus))
    }

    fn over(publisher: Arc<Publisher>, backend: Backend) -> Store {
        Store(Arc::new(Inner { publisher, backend, turn: Arc::default() }))
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

    /// Runs `decide` on the newest view, and returns once what it wrote is on disk on a majority
    /// and applied here.
    ///
    /// `decide` may run several times. If it writes nothing, nothing is proposed. `now_ns` is the
    /// caller's wall clock. Leader only ([`StoreError::NotLeader`]).
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
        mut decide: impl FnMut(&mut Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut attempts = MAX_ATTEMPTS;
        loop {
            attempts -= 1;
            let turn = self.begin().await?;
            if let Some(version) = self.view().request_applied(request_id) {
                let request_id = request_id.to_owned();
                return Err(StoreError::Duplicate { request_id, version }.into());
            }
            let mut transaction = Transaction::new(self.view());
            let result = decide(&mut transaction)?;
            let actions = transaction.into_actions();
            if actions.is_empty() {
                return Ok(result);
            }
            let request_id = request_id.to_owned();
            let command = RaftCommand { actions, request_id, proposed_at_ns: now_ns };
            match self.propose(turn, command).await {
                Ok(()) => return Ok(result),
                Err(NotApplied::Again) if attempts > 0 => {}
                Err(NotApplied::Again) => return Err(busy().into()),
                Err(NotApplied::Failed(error)) if is_conflict(&error) && attempts > 0 => {}
                Err(NotApplied::Failed(error)) => return Err(error.into()),
            }
        }
    }

    async fn begin(&self) -> Result<Turn, StoreError> {
        let guard = Arc::clone(&self.0.turn).lock_owned();
        match &self.0.backend {
            Backend::Standalone => Ok(Turn { guard: guard.await, leading: None }),
            Backend::Replicated(consensus) => {
                let consensus = consensus.get().ok_or(StoreError::NotLeader { leader: None })?;
                // Not a leader: say so at once, even while an earlier proposal hangs.
                consensus.leading().await?;
                let waited = consensus.patience;
                let guard = tokio::time::timeout(waited, guard).await;
                let guard = guard.map_err(|_| consensus.no_quorum())?;
                let term = consensus.leading().await?;
                Ok(Turn { guard, leading: Some((Arc::clone(consensus), term)) })
            }
        }
    }

    async fn propose(&self, turn: Turn, command: RaftCommand) -> Result<(), NotApplied> {
        let size = command.encoded_len();
        if size > MAX_COMMAND_BYTES {
            let error = StoreError::TooLarge { size, limit: MAX_COMMAND_BYTES };
            return Err(NotApplied::Failed(error));
        }
        match turn.leading {
            Some((consensus, term)) => consensus.propose(term, &command, turn.guard).await,
            None => {
                let _turn = turn.guard;
                self.apply_alone(command).map_err(NotApplied::Failed)
            }
        }
    }

    fn apply_alone(&self, command: RaftCommand) -> Result<(), StoreError> {
        let base = self.view();
        let version = base.version() + 1;
        let applied = apply(&base.0, command, version)?;
        let commit = Commit { version, changes: applied.changes };
        self.0.publisher.commit(Arc::new(applied.state), commit);
        Ok(())
    }
}

/// The right to decide and propose; for a replica also the term in which it may.
struct Turn {
    guard: OwnedMutexGuard<()>,
    leading: Option<(Arc<Consensus>, u64)>,
}

fn busy() -> StoreError {
    StoreError::Refused("leadership keeps changing: try again".to_owned())
}

/// Whether the decision was based on something that has changed since.
fn is_conflict(error: &StoreError) -> bool {
    use StoreError::{AlreadyExists, NotFound, OutOfSequence};
    matches!(error, AlreadyExists { .. } | NotFound { .. } | OutOfSequence { .. })
}

#[cfg(test)]
mod tests;
