//! Applies one command to the tables: all of it or nothing, the same on every replica.
//!
//! No clock, no randomness, no I/O. Called by the state machine in log order and by the standalone
//! store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prost::bytes::Bytes;
use swarm_api::store_action::Action as Act;
use swarm_api::{Kind, Meta, Object, RaftCommand, StoreAction, Version, time};

use crate::record;
use crate::state::State;
use crate::{Action, Change, StoreError};

/// The tables after a command, and what it changed.
pub(crate) struct Applied {
    pub(crate) state: Arc<State>,
    pub(crate) changes: Vec<Change>,
}

/// A command's effect, worked out by its proposer before it is replicated.
pub(crate) struct Foreseen {
    /// Term and index.
    pub(crate) at: (u64, u64),
    pub(crate) command: Bytes,
    /// The very tables it was worked out on.
    pub(crate) base: Arc<State>,
    pub(crate) applied: Applied,
}

/// Where a proposer leaves the effect of its command for the state machine of the same replica,
/// which then need not work it out again.
#[derive(Clone, Default)]
pub(crate) struct Foresight(Arc<Mutex<Option<Foreseen>>>);

impl Foresight {
    pub(crate) fn put(&self, foreseen: Foreseen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(foreseen);
    }

    /// The effect of this command at this place on exactly these tables, if it was foreseen.
    pub(crate) fn take(
        &self,
        at: (u64, u64),
        command: &Bytes,
        base: &Arc<State>,
    ) -> Option<Applied> {
        let foreseen = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let fits = foreseen.at == at && Arc::ptr_eq(&foreseen.base, base);
        (fits && foreseen.command == *command).then_some(foreseen.applied)
    }
}

/// What one action does, checked against the tables as they were before the command.
enum Step {
    Put { object: Box<Object>, old: Option<Arc<Object>> },
    Take { old: Arc<Object> },
}

/// `base` after `command`, every written object at version `index`.
pub(crate) fn apply(base: &State, command: RaftCommand, index: u64) -> Result<Applied, StoreError> {
    if command.index != 0 && command.index != index {
        let decided = command.index;
        let text = format!("a change decided for log index {decided} came to index {index}");
        return Err(StoreError::Refused(text));
    }
    for request_id in &command.request_ids {
        if let Some(version) = base.request(request_id) {
            return Err(StoreError::Duplicate { request_id: request_id.clone(), version });
        }
    }
    let mut seen = BTreeSet::new();
    let mut steps = Vec::with_capacity(command.actions.len());
    for action in command.actions {
        let (kind, id, step) = check(base, action)?;
        if !seen.insert((kind as i32, id)) {
            let reason = "written twice in one transaction".to_owned();
            return Err(StoreError::Invalid { kind: record::noun(kind), reason });
        }
        steps.push(step);
    }
    let mut state = base.clone();
    state.version = index;
    // Every name that is given up goes first, so that the order of actions does not matter to
    // unique names.
    for step in &steps {
        let old = match step {
            Step::Take { old } => old,
            Step::Put { object, old: Some(old) } if record::name(object) != record::name(old) => {
                old
            }
            Step::Put { .. } => continue,
        };
        state.take(record::kind(old), record::id(old));
    }
    let mut changes = Vec::with_capacity(steps.len());
    for step in steps {
        changes.push(carry_out(&mut state, step, index, command.proposed_at_ns)?);
    }
    for request_id in &command.request_ids {
        state.remember(request_id, index);
    }
    Ok(Applied { state: Arc::new(state), changes })
}

fn check(base: &State, action: StoreAction) -> Result<(Kind, String, Step), StoreError> {
    let based_on = action.based_on;
    match action.action {
        Some(Act::Create(object)) => {
            let (kind, id) = key(&object)?;
            match base.table(kind).get(&id) {
                Some(_) => Err(StoreError::AlreadyExists { kind: record::noun(kind), name: id }),
                None => Ok((kind, id, Step::Put { object: object.into(), old: None })),
            }
        }
        Some(Act::Update(object)) => {
            let (kind, id) = key(&object)?;
            let old = find(base, kind, &id)?;
            let have = if based_on == 0 { record::version(&object) } else { based_on };
            let want = record::version(&old);
            if have != want {
                return Err(StoreError::OutOfSequence { kind: record::noun(kind), id, have, want });
            }
            Ok((kind, id, Step::Put { object: object.into(), old: Some(old) }))
        }
        Some(Act::Remove(remove)) => {
            let kind = remove.kind();
            let old = find(base, kind, &remove.id)?;
            Ok((kind, remove.id, Step::Take { old }))
        }
        None => Err(unknown()),
    }
}

fn carry_out(state: &mut State, step: Step, index: u64, now_ns: i64) -> Result<Change, StoreError> {
    let (mut object, old) = match step {
        Step::Take { old } => {
            let object = Arc::clone(&old);
            return Ok(Change { action: Action::Removed, object, old: Some(old) });
        }
        Step::Put { object, old } => (object, old),
    };
    let kind = record::kind(&object);
    let name = record::name(&object);
    let owner = if name.is_empty() { None } else { state.table(kind).by_name(name) };
    if owner.is_some_and(|owner| record::id(owner) != record::id(&object)) {
        return Err(StoreError::AlreadyExists { kind: record::noun(kind), name: name.to_owned() });
    }
    let now = time::from_nanos(now_ns);
    let created_at = match &old {
        Some(old) => record::meta(old).and_then(|m| m.created_at),
        None => Some(now),
    };
    let version = Some(Version { index });
    record::set_meta(&mut object, Meta { version, created_at, updated_at: Some(now) });
    let object: Arc<Object> = object.into();
    state.put(Arc::clone(&object));
    let action = if old.is_some() { Action::Updated } else { Action::Created };
    Ok(Change { action, object, old })
}

/// Kind and id of an object that can be stored.
pub(crate) fn key(object: &Object) -> Result<(Kind, String), StoreError> {
    let kind = record::kind(object);
    let id = record::id(object);
    if kind == Kind::Unknown {
        return Err(unknown());
    }
    if id.is_empty() {
        let reason = "it has no id".to_owned();
        return Err(StoreError::Invalid { kind: record::noun(kind), reason });
    }
    Ok((kind, id.to_owned()))
}

fn find(base: &State, kind: Kind, id: &str) -> Result<Arc<Object>, StoreError> {
    let not_found = || StoreError::NotFound { kind: record::noun(kind), id: id.to_owned() };
    base.table(kind).get(id).cloned().ok_or_else(not_found)
}

fn unknown() -> StoreError {
    let reason = "a kind or an action that this version does not know".to_owned();
    StoreError::Invalid { kind: "object", reason }
}
