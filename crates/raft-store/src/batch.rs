//! Transactions that become one command: each is decided on what those before it will leave, and
//! one sync carries them all.
//!
//! Pure. Filled and sent off by `committer`. To their callers they are as if run one after the
//! other; replicas see only where the last one leaves the tables.

use std::collections::HashSet;
use std::sync::Arc;

use swarm_api::store_action::{Action as Act, Remove};
use swarm_api::{Kind, Meta, Object, RaftCommand, StoreAction, Version, time};

use crate::record;
use crate::state::State;
use crate::transaction::Written;
use crate::{StoreError, View};

/// What a command may cost besides its actions.
const OVERHEAD: usize = 64;

/// Transactions on top of `base`, to be applied together at `index`.
pub(crate) struct Batch {
    base: View,
    working: View,
    index: u64,
    touched: Vec<(Kind, String)>,
    known: HashSet<(Kind, String)>,
    // Written by the last transaction, still at the versions that it was based on.
    unsettled: Vec<(Kind, String)>,
    bytes: usize,
    proposed_at_ns: i64,
    request_ids: Vec<String>,
}

impl Batch {
    pub(crate) fn new(base: View, index: u64) -> Self {
        Self {
            working: base.clone(),
            base,
            index,
            touched: Vec::new(),
            known: HashSet::new(),
            unsettled: Vec::new(),
            bytes: OVERHEAD,
            proposed_at_ns: i64::MIN,
            request_ids: Vec::new(),
        }
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn base(&self) -> &Arc<State> {
        &self.base.0
    }

    /// Whether one more of this size is too much for one command of `limit` bytes.
    pub(crate) fn is_full(&self, bytes: usize, limit: usize) -> bool {
        self.bytes + bytes > limit
    }

    /// What the next transaction is decided on: every object at the version that it will have, so
    /// that a caller's older version is refused.
    pub(crate) fn view(&mut self) -> View {
        let now = time::from_nanos(self.proposed_at_ns);
        for (kind, id) in std::mem::take(&mut self.unsettled) {
            let Some(object) = self.working.0.table(kind).get(&id) else { continue };
            let mut object = Object::clone(object);
            let before = self.base.0.table(kind).get(&id);
            let created_at = match before {
                Some(before) => record::meta(before).and_then(|m| m.created_at),
                None => Some(now),
            };
            let version = Some(Version { index: self.index });
            record::set_meta(&mut object, Meta { version, created_at, updated_at: Some(now) });
            Arc::make_mut(&mut self.working.0).put(Arc::new(object));
        }
        self.working.clone()
    }

    /// Adds what was decided on [`Self::view`].
    pub(crate) fn add(&mut self, written: Written, request_id: &str, now_ns: i64) {
        self.working = written.working;
        self.bytes += written.bytes + request_id.len();
        self.proposed_at_ns = self.proposed_at_ns.max(now_ns);
        if !request_id.is_empty() {
            self.request_ids.push(request_id.to_owned());
            Arc::make_mut(&mut self.working.0).remember(request_id, self.index);
        }
        for key in &written.touched {
            if self.known.insert(key.clone()) {
                self.touched.push(key.clone());
            }
        }
        self.unsettled = written.touched;
    }

    /// What turns the base into the working view: one action per object touched. `None` if that is
    /// nothing.
    pub(crate) fn command(&self) -> Option<RaftCommand> {
        let actions: Vec<_> = self.touched.iter().filter_map(|key| self.action(key)).collect();
        (!actions.is_empty() || !self.request_ids.is_empty()).then(|| RaftCommand {
            actions,
            request_ids: self.request_ids.clone(),
            proposed_at_ns: self.proposed_at_ns,
            index: self.index,
        })
    }

    fn action(&self, (kind, id): &(Kind, String)) -> Option<StoreAction> {
        let before = self.base.0.table(*kind).get(id);
        let after = self.working.0.table(*kind).get(id);
        let action = match (before, after) {
            (None, None) => return None,
            (None, Some(object)) => Act::Create(Object::clone(object)),
            (Some(old), Some(object)) => Act::Update(based_on(old, object)),
            (Some(_), None) => Act::Remove(Remove { kind: *kind as i32, id: id.clone() }),
        };
        Some(StoreAction { action: Some(action) })
    }
}

/// `object` at the version of `old`, that an update must name.
fn based_on(old: &Object, object: &Object) -> Object {
    let mut object = object.clone();
    if record::version(&object) != record::version(old) {
        let version = Some(Version { index: record::version(old) });
        let meta = record::meta(&object).copied().unwrap_or_default();
        record::set_meta(&mut object, Meta { version, ..meta });
    }
    object
}

/// Refuses what does not fit into a command of `limit` bytes.
pub(crate) fn check_size(bytes: usize, limit: usize) -> Result<(), StoreError> {
    let size = bytes + OVERHEAD;
    if size > limit { Err(StoreError::TooLarge { size, limit }) } else { Ok(()) }
}
