//! The replicated half of the store: transactions queue up while a command is on its way to the
//! disks, and become the next command when it has arrived.
//!
//! One command is on its way at a time. The next batch is decided on what that command will leave
//! behind, and sent only if it did: a batch whose base came to nothing is decided again by its
//! callers. So however many transactions share a sync, each sees all before it.

use std::sync::{Arc, OnceLock};

use prost::Message;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::apply::{Foreseen, Foresight, apply};
use crate::batch::{Batch, check_size};
use crate::consensus::{Consensus, NotApplied, STOPPED};
use crate::raft::Command;
use crate::state::State;
use crate::store::MAX_COMMAND_BYTES;
use crate::subscription::Publisher;
use crate::transaction::Written;
use crate::{StoreError, Transaction, View};

/// How often a transaction is decided anew because what it was based on came to nothing: only
/// changes of the group or of its leader do that, so once is rare.
const MAX_ATTEMPTS: usize = 8;

/// Collects transactions and has them replicated.
pub(crate) struct Committer {
    publisher: Arc<Publisher>,
    // Empty until the replica is in a group.
    consensus: Arc<OnceLock<Arc<Consensus>>>,
    foresight: Foresight,
    line: Mutex<Line>,
    // Held while a command is on its way.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Line {
    opened: u64,
    open: Option<Open>,
    flying: Option<Flying>,
}

/// The batch that still takes transactions.
struct Open {
    id: u64,
    term: u64,
    batch: Batch,
    told: Told,
}

/// The command on its way.
struct Flying {
    id: u64,
    term: u64,
    index: u64,
    state: Arc<State>,
    told: Told,
}

type Told = watch::Sender<Option<Outcome>>;

/// What became of a batch.
#[derive(Clone)]
enum Outcome {
    Applied,
    /// It changed nothing, and what it was decided on is not so.
    Again(StoreError),
    Failed(StoreError),
}

/// Where to learn what becomes of a batch.
struct Pending {
    id: u64,
    told: watch::Receiver<Option<Outcome>>,
}

/// What a decision came to.
enum Step<R, E> {
    /// Nothing to write, or an error. It holds if what it was decided on does.
    Answer(Result<R, E>, Option<Pending>),
    Joined(R, Pending),
    /// The batch has no room left: decide again for the next one.
    Full(Pending),
}

impl Line {
    /// What a transaction in `term` is decided on, and what that depends on.
    fn basis(&mut self, term: u64, publisher: &Publisher) -> (View, Option<Pending>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.term == term) {
            let pending = Pending { id: open.id, told: open.told.subscribe() };
            return (open.batch.view(), Some(pending));
        }
        if let Some(flying) = self.flying.as_ref().filter(|flying| flying.term == term) {
            let pending = Pending { id: flying.id, told: flying.told.subscribe() };
            return (View(Arc::clone(&flying.state)), Some(pending));
        }
        (publisher.view(), None)
    }

    /// The open batch is no more: its callers decide again.
    fn abandon(&mut self, id: impl FnOnce(&Open) -> bool, outcome: Outcome) {
        if let Some(open) = self.open.take_if(|open| id(open)) {
            open.told.send_replace(Some(outcome));
        }
    }
}

impl Committer {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        consensus: Arc<OnceLock<Arc<Consensus>>>,
        foresight: Foresight,
    ) -> Arc<Self> {
        let (line, turn) = (Mutex::default(), Mutex::new(()));
        Arc::new(Self { publisher, consensus, foresight, line, turn })
    }

    pub(crate) async fn transact<R, E: From<StoreError>>(
        self: &Arc<Self>,
        now_ns: i64,
        request_id: &str,
        mut decide: impl FnMut(&mut Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        let consensus = self.consensus.get().ok_or(StoreError::NotLeader { leader: None })?;
        let mut attempts = MAX_ATTEMPTS;
        loop {
            let term = consensus.leading().await?;
            let step = {
                let mut line = self.line.lock().await;
                if !consensus.leads_in(term) {
                    continue;
                }
                self.decide(&mut line, consensus, term, (now_ns, request_id), &mut decide)
            };
            let (answer, pending) = match step {
                Step::Answer(answer, None) => return answer,
                Step::Answer(answer, Some(pending)) => (answer, pending),
                Step::Joined(result, pending) => (Ok(result), pending),
                Step::Full(pending) => {
                    self.outcome(consensus, pending).await;
                    continue;
                }
            };
            match self.outcome(consensus, pending).await {
                Outcome::Applied => return answer,
                Outcome::Failed(error) => return Err(error.into()),
                Outcome::Again(_) if attempts > 1 => attempts -= 1,
                Outcome::Again(error) => return Err(busy(&error).into()),
            }
        }
    }

    fn decide<R, E: From<StoreError>>(
        self: &Arc<Self>,
        line: &mut Line,
        consensus: &Arc<Consensus>,
        term: u64,
        (now_ns, request_id): (i64, &str),
        decide: &mut impl FnMut(&mut Transaction) -> Result<R, E>,
    ) -> Step<R, E> {
        let (view, pending) = line.basis(term, &self.publisher);
        if let Some(version) = view.request_applied(request_id) {
            let request_id = request_id.to_owned();
            let error = StoreError::Duplicate { request_id, version };
            return Step::Answer(Err(error.into()), pending);
        }
        let mut transaction = Transaction::new(view);
        let result = match decide(&mut transaction) {
            Ok(result) => result,
            Err(error) => return Step::Answer(Err(error), pending),
        };
        let Some(written) = transaction.into_written() else {
            return Step::Answer(Ok(result), pending);
        };
        let bytes = written.bytes + request_id.len();
        if let Err(error) = check_size(bytes, MAX_COMMAND_BYTES) {
            return Step::Answer(Err(error.into()), None);
        }
        let open = line.open.as_ref().filter(|open| open.term == term);
        if let Some(open) = open.filter(|open| open.batch.is_full(bytes, MAX_COMMAND_BYTES)) {
            return Step::Full(Pending { id: open.id, told: open.told.subscribe() });
        }
        Step::Joined(result, self.join(line, consensus, term, written, (now_ns, request_id)))
    }

    fn join(
        self: &Arc<Self>,
        line: &mut Line,
        consensus: &Arc<Consensus>,
        term: u64,
        written: Written,
        (now_ns, request_id): (i64, &str),
    ) -> Pending {
        line.abandon(|open| open.term != term, again("another term has begun"));
        let flying = line.flying.as_ref().filter(|flying| flying.term == term);
        let open = line.open.get_or_insert_with(|| {
            let (base, index) = match flying {
                Some(flying) => (View(Arc::clone(&flying.state)), flying.index + 1),
                None => {
                    let base = self.publisher.view();
                    let last = consensus.last_log_index().max(base.version());
                    (base, last + 1)
                }
            };
            line.opened += 1;
            let id = line.opened;
            // It ends with the command; when the store is gone nobody waits for it.
            tokio::spawn(Arc::clone(self).send_off(Arc::clone(consensus), id));
            Open { id, term, batch: Batch::new(base, index), told: watch::Sender::new(None) }
        });
        open.batch.add(written, request_id, now_ns);
        Pending { id: open.id, told: open.told.subscribe() }
    }

    /// Waits for its turn, proposes the batch, and tells what became of it.
    async fn send_off(self: Arc<Self>, consensus: Arc<Consensus>, id: u64) {
        let _turn = self.turn.lock().await;
        let Some((term, command, told)) = self.close(id).await else { return };
        let outcome = match consensus.propose(term, command).await {
            Ok(()) => Outcome::Applied,
            Err(NotApplied::Again(error)) => Outcome::Again(error),
            Err(NotApplied::Failed(error)) => Outcome::Failed(error),
        };
        {
            let mut line = self.line.lock().await;
            line.flying = None;
            if let Outcome::Again(error) | Outcome::Failed(error) = &outcome {
                // What has gathered since was decided on what this one would have left.
                line.abandon(|open| open.term == term, Outcome::Again(error.clone()));
            }
        }
        told.send_replace(Some(outcome));
    }

    /// Makes the open batch the command on its way.
    async fn close(&self, id: u64) -> Option<(u64, Command, Told)> {
        let mut line = self.line.lock().await;
        let Open { term, batch, told, .. } = line.open.take_if(|open| open.id == id)?;
        let Some(command) = batch.command() else {
            told.send_replace(Some(Outcome::Applied));
            return None;
        };
        let encoded = Command(command.encode_to_vec().into());
        let (base, index, bytes) = (Arc::clone(batch.base()), batch.index(), encoded.0.clone());
        let applied = match apply(&base, command, index) {
            Ok(applied) => applied,
            Err(error) => {
                told.send_replace(Some(Outcome::Again(error)));
                return None;
            }
        };
        let state = Arc::clone(&applied.state);
        self.foresight.put(Foreseen { at: (term, index), command: bytes, base, applied });
        line.flying = Some(Flying { id, term, index, state, told: told.clone() });
        Some((term, encoded, told))
    }

    /// Waits for what becomes of a batch; one that was never sent off is given up in the end.
    async fn outcome(&self, consensus: &Consensus, mut pending: Pending) -> Outcome {
        let waited = consensus.patience;
        let told = match timeout(waited, pending.told.wait_for(Option::is_some)).await {
            Ok(told) => Some(told.ok().and_then(|outcome| outcome.clone())),
            Err(_) => None,
        };
        if let Some(told) = told {
            return told.unwrap_or_else(died);
        }
        let unsent = Outcome::Failed(consensus.no_quorum());
        let mut line = self.line.lock().await;
        line.abandon(|open| open.id == pending.id, unsent);
        let told = pending.told.borrow().clone();
        told.unwrap_or(Outcome::Failed(StoreError::Timeout { waited }))
    }
}

fn died() -> Outcome {
    Outcome::Failed(StoreError::Fatal(STOPPED.to_owned()))
}

fn again(reason: &str) -> Outcome {
    Outcome::Again(StoreError::Refused(reason.to_owned()))
}

fn busy(error: &StoreError) -> StoreError {
    StoreError::Refused(format!("leadership keeps changing: try again ({error})"))
}
