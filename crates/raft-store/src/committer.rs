//! The replicated half of the store: transactions queue up while a command is on its way to the
//! disks, and become the next command when it has arrived.
//!
//! One command is on its way at a time. The next batch is decided on what that command will leave
//! behind, and sent only if it did: a batch whose base came to nothing is decided again by its
//! callers. So however many transactions share a sync, each sees all before it.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::apply::{Foreseen, Foresight};
use crate::batch::{Batch, Finished, check_size};
use crate::consensus::{Consensus, NotApplied, STOPPED};
use crate::raft::Command;
use crate::state::State;
use crate::store::MAX_COMMAND_BYTES;
use crate::subscription::Publisher;
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

/// What a decision in a batch came to.
enum Tried<R, E> {
    Answer(Result<R, E>),
    Full,
    Kept(R),
}

impl Line {
    /// What a decision in `term` depends on.
    fn pending(&self, term: u64) -> Option<Pending> {
        if let Some(open) = self.open.as_ref().filter(|open| open.term == term) {
            return Some(open.pending());
        }
        let flying = self.flying.as_ref().filter(|flying| flying.term == term)?;
        Some(Pending { id: flying.id, told: flying.told.subscribe() })
    }

    /// The open batch is no more: its callers decide again.
    fn abandon(&mut self, id: impl FnOnce(&Open) -> bool, outcome: Outcome) {
        if let Some(open) = self.open.take_if(|open| id(open)) {
            open.told.send_replace(Some(outcome));
        }
    }
}

impl Open {
    fn pending(&self) -> Pending {
        Pending { id: self.id, told: self.told.subscribe() }
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
        line.abandon(|open| open.term != term, again("another term has begun"));
        line.abandon(|open| open.batch.is_lost(), again("a transaction beside it died"));
        let pending = line.pending(term);
        let Some(open) = &mut line.open else {
            let mut batch = self.batch(line, consensus, term, now_ns);
            return match try_in(&mut batch, request_id, decide) {
                Tried::Answer(answer) => Step::Answer(answer, pending),
                Tried::Kept(result) => {
                    Step::Joined(result, self.open(line, consensus, term, batch))
                }
                // An empty one takes whatever is not too large for any.
                Tried::Full => Step::Answer(Err(too_large().into()), None),
            };
        };
        match try_in(&mut open.batch, request_id, decide) {
            Tried::Answer(answer) => Step::Answer(answer, pending),
            Tried::Kept(result) => Step::Joined(result, open.pending()),
            Tried::Full => Step::Full(open.pending()),
        }
    }

    /// An empty batch on what the command on its way will leave, or on what is there.
    fn batch(&self, line: &Line, consensus: &Consensus, term: u64, now_ns: i64) -> Batch {
        if let Some(flying) = line.flying.as_ref().filter(|flying| flying.term == term) {
            return Batch::new(View(Arc::clone(&flying.state)), flying.index + 1, now_ns);
        }
        let base = self.publisher.view();
        let last = consensus.last_log_index().max(base.version());
        Batch::new(base, last + 1, now_ns)
    }

    /// Lets others join the batch until its turn comes.
    fn open(
        self: &Arc<Self>,
        line: &mut Line,
        consensus: &Arc<Consensus>,
        term: u64,
        batch: Batch,
    ) -> Pending {
        line.opened += 1;
        let id = line.opened;
        // It ends with the command; when the store is gone nobody waits for it.
        tokio::spawn(Arc::clone(self).send_off(Arc::clone(consensus), id));
        let open = Open { id, term, batch, told: watch::Sender::new(None) };
        line.open.insert(open).pending()
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
        if batch.is_lost() {
            told.send_replace(Some(again("a transaction beside it died")));
            return None;
        }
        let Some(finished) = batch.finish() else {
            told.send_replace(Some(Outcome::Applied));
            return None;
        };
        let (index, command) = (finished.index(), finished.command());
        let Finished { base, applied, .. } = finished;
        let state = Arc::clone(&applied.state);
        let at = (term, index);
        self.foresight.put(Foreseen { at, command: command.clone(), base, applied });
        line.flying = Some(Flying { id, term, index, state, told: told.clone() });
        Some((term, Command(command), told))
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

/// Runs one transaction in the batch; unless it is kept it leaves no trace.
fn try_in<R, E: From<StoreError>>(
    batch: &mut Batch,
    request_id: &str,
    decide: &mut impl FnMut(&mut Transaction) -> Result<R, E>,
) -> Tried<R, E> {
    if let Some(version) = batch.request_applied(request_id) {
        let request_id = request_id.to_owned();
        return Tried::Answer(Err(StoreError::Duplicate { request_id, version }.into()));
    }
    // The caller has seen to it that the batch is not lost.
    let Some(mut transaction) = batch.begin() else { return Tried::Full };
    let answer = decide(&mut transaction);
    let (result, bytes) = match (answer, transaction.cost()) {
        (Ok(result), Some(bytes)) => (result, bytes + request_id.len()),
        (answer, _) => {
            batch.put_back(transaction);
            return Tried::Answer(answer);
        }
    };
    if let Err(error) = check_size(bytes, MAX_COMMAND_BYTES) {
        batch.put_back(transaction);
        return Tried::Answer(Err(error.into()));
    }
    if batch.is_full(bytes, MAX_COMMAND_BYTES) {
        batch.put_back(transaction);
        return Tried::Full;
    }
    batch.keep(transaction, bytes, request_id);
    Tried::Kept(result)
}

fn too_large() -> StoreError {
    StoreError::TooLarge { size: MAX_COMMAND_BYTES, limit: MAX_COMMAND_BYTES }
}

fn died() -> Outcome {
    Outcome::Failed(StoreError::Fatal(STOPPED.to_owned()))
}

fn again(reason: &str) -> Outcome {
    Outcome::Again(StoreError::Refused(reason.to_owned()))
}

fn busy(error: &StoreError) -> StoreError {
    // Passing, unlike a refusal: whoever asks may ask again.
    StoreError::NoQuorum { reason: format!("leadership keeps changing ({error})") }
}
