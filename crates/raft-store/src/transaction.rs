//! A set of writes that is applied as a whole or not at all. Reads through it see its own writes.
//!
//! Made by [`crate::Store::transact`]; what it decides becomes one replicated command.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;
use swarm_api::Kind;
use swarm_api::object::Stored;

use crate::state::State;
use crate::{StoreError, View};

/// What an action costs besides its object: its own frame, and the version and times that the
/// object is given.
const ACTION_OVERHEAD: usize = 64;

/// What a transaction wrote.
pub(crate) struct Written {
    pub(crate) working: View,
    /// Kind and id of all that was written, in order of the first write.
    pub(crate) touched: Vec<(Kind, String)>,
    /// At most this large when encoded.
    pub(crate) bytes: usize,
}

/// Writes on top of a view.
pub struct Transaction {
    base: View,
    working: View,
    touched: Vec<(Kind, String)>,
    known: HashSet<(Kind, String)>,
}

impl Transaction {
    pub(crate) fn new(base: View) -> Self {
        let working = base.clone();
        Self { base, working, touched: Vec::new(), known: HashSet::new() }
    }

    /// The store with this transaction's writes. What it wrote keeps the version it was based on.
    pub fn view(&self) -> &View {
        &self.working
    }

    /// Adds an object; its id is set by the caller.
    pub fn create<T: Stored>(&mut self, object: T) -> Result<(), StoreError> {
        let taken = |name: &str| StoreError::AlreadyExists { kind: T::NOUN, name: name.to_owned() };
        if object.id().is_empty() {
            return Err(StoreError::Invalid { kind: T::NOUN, reason: "it has no id".to_owned() });
        }
        if self.working.get::<T>(object.id()).is_some() {
            return Err(taken(object.id()));
        }
        if !object.name().is_empty() && self.working.by_name::<T>(object.name()).is_some() {
            return Err(taken(object.name()));
        }
        self.put(object);
        Ok(())
    }

    /// Replaces an object that has not changed since `object` was read.
    pub fn update<T: Stored>(&mut self, object: T) -> Result<(), StoreError> {
        let (have, want) = (object.version(), self.existing::<T>(object.id())?.version());
        if have != want {
            let id = object.id().to_owned();
            return Err(StoreError::OutOfSequence { kind: T::NOUN, id, have, want });
        }
        let name = object.name();
        if !name.is_empty()
            && self.working.by_name::<T>(name).is_some_and(|owner| owner.id() != object.id())
        {
            return Err(StoreError::AlreadyExists { kind: T::NOUN, name: name.to_owned() });
        }
        self.put(object);
        Ok(())
    }

    /// Removes an object.
    pub fn remove<T: Stored>(&mut self, id: &str) -> Result<(), StoreError> {
        self.existing::<T>(id)?;
        self.touch(T::KIND, id);
        self.state().take(T::KIND, id);
        Ok(())
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    fn existing<T: Stored>(&self, id: &str) -> Result<&T, StoreError> {
        let not_found = || StoreError::NotFound { kind: T::NOUN, id: id.to_owned() };
        self.working.get::<T>(id).ok_or_else(not_found)
    }

    fn put<T: Stored>(&mut self, object: T) {
        self.touch(T::KIND, object.id());
        self.state().put(Arc::new(object.into_object()));
    }

    fn touch(&mut self, kind: Kind, id: &str) {
        if self.known.insert((kind, id.to_owned())) {
            self.touched.push((kind, id.to_owned()));
        }
    }

    fn state(&mut self) -> &mut State {
        Arc::make_mut(&mut self.working.0)
    }

    /// What it wrote; `None` if that comes to nothing.
    pub(crate) fn into_written(self) -> Option<Written> {
        let mut bytes = 0;
        let mut changed = false;
        for (kind, id) in &self.touched {
            let before = self.base.0.table(*kind).get(id);
            let after = self.working.0.table(*kind).get(id);
            changed |= before.is_some() || after.is_some();
            bytes += ACTION_OVERHEAD + after.map_or(id.len(), |object| object.encoded_len());
        }
        changed.then_some(Written { working: self.working, touched: self.touched, bytes })
    }
}
