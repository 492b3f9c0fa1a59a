//! Transactions that become one command: each is decided on what those before it leave, and one
//! sync carries them all.
//!
//! Pure. Filled and sent off by `committer`. To their callers they are as if run one after the
//! other; replicas see only where the last one leaves the tables. They work in place on tables of
//! their own, which then are what applying the command would make of the base: the proposer need
//! not apply it.

use std::collections::HashSet;
use std::sync::Arc;

use prost::bytes::Bytes;
use swarm_api::Kind;

use crate::apply::Applied;
use crate::state::State;
use crate::{Action, Change, StoreError, Transaction, View, command};

/// What a command may cost besides its actions.
const OVERHEAD: usize = 64;

/// Transactions on top of `base`, to be applied together at `index`.
pub(crate) struct Batch {
    base: View,
    // Lent to the transaction at work; stays away if that one dies.
    working: Option<View>,
    index: u64,
    /// Wall clock of the first transaction: that of all.
    now_ns: i64,
    touched: Vec<(Kind, Arc<str>)>,
    known: HashSet<(Kind, Arc<str>)>,
    bytes: usize,
    request_ids: Vec<String>,
}

/// What a batch comes to.
pub(crate) struct Finished {
    pub(crate) base: Arc<State>,
    pub(crate) applied: Applied,
    index: u64,
    now_ns: i64,
    request_ids: Vec<String>,
}

impl Batch {
    pub(crate) fn new(base: View, index: u64, now_ns: i64) -> Self {
        Self {
            working: Some(base.clone()),
            base,
            index,
            now_ns,
            touched: Vec::new(),
            known: HashSet::new(),
            bytes: OVERHEAD,
            request_ids: Vec::new(),
        }
    }

    /// Whether a transaction died in it: then nothing can come of it.
    pub(crate) fn is_lost(&self) -> bool {
        self.working.is_none()
    }

    /// Whether one more of this size is too much for one command of `limit` bytes.
    pub(crate) fn is_full(&self, bytes: usize, limit: usize) -> bool {
        self.bytes + bytes > limit
    }

    /// Version at which the request was, or will be, applied.
    pub(crate) fn request_applied(&self, request_id: &str) -> Option<u64> {
        self.working.as_ref()?.request_applied(request_id)
    }

    /// The next transaction, to be kept or put back; `None` if the batch is lost. It sees every
    /// object at the version that it will have, so that a caller's older version is refused.
    pub(crate) fn begin(&mut self) -> Option<Transaction> {
        let working = self.working.take()?;
        Some(Transaction::new(self.base.clone(), working, (self.index, self.now_ns)))
    }

    /// Ends a transaction that is not to be: it has changed nothing.
    pub(crate) fn put_back(&mut self, transaction: Transaction) {
        self.working = Some(transaction.undo());
    }

    /// Ends a transaction that is to be; `bytes` as it told.
    pub(crate) fn keep(&mut self, transaction: Transaction, bytes: usize, request_id: &str) {
        self.bytes += bytes + request_id.len();
        let (mut working, touched) = transaction.into_parts();
        for key in touched {
            if self.known.insert(key.clone()) {
                self.touched.push(key);
            }
        }
        if !request_id.is_empty() {
            self.request_ids.push(request_id.to_owned());
            Arc::make_mut(&mut working.0).remember(request_id, self.index);
        }
        self.working = Some(working);
    }

    /// What turns the base into where the last transaction left it: one change per object touched.
    /// `None` if that is nothing.
    pub(crate) fn finish(self) -> Option<Finished> {
        let mut state = self.working?.0;
        let change = |(kind, id): &(Kind, Arc<str>)| {
            let old = self.base.0.table(*kind).get(id).cloned();
            let new = state.table(*kind).get(id).cloned();
            let (action, object) = match (&old, new) {
                (None, None) => return None,
                (None, Some(object)) => (Action::Created, object),
                (Some(_), Some(object)) => (Action::Updated, object),
                (Some(old), None) => (Action::Removed, Arc::clone(old)),
            };
            Some(Change { action, object, old })
        };
        let changes: Vec<_> = self.touched.iter().filter_map(change).collect();
        if changes.is_empty() && self.request_ids.is_empty() {
            return None;
        }
        Arc::make_mut(&mut state).version = self.index;
        Some(Finished {
            base: self.base.0,
            applied: Applied { state, changes },
            index: self.index,
            now_ns: self.now_ns,
            request_ids: self.request_ids,
        })
    }
}

impl Finished {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// What makes other replicas do the same.
    pub(crate) fn command(&self) -> Bytes {
        let (index, now_ns) = (self.index, self.now_ns);
        command::encode(&self.applied.changes, &self.request_ids, index, now_ns)
    }
}

/// Refuses what does not fit into a command of `limit` bytes.
pub(crate) fn check_size(bytes: usize, limit: usize) -> Result<(), StoreError> {
    let size = bytes + OVERHEAD;
    if size > limit { Err(StoreError::TooLarge { size, limit }) } else { Ok(()) }
}
