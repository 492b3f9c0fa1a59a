//! A set of writes that is applied as a whole or not at all. Reads through it see its own writes.
//!
//! Made by [`crate::Store::transact`]; works in place on the tables that its batch will leave, and
//! is undone there if it is refused.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use swarm_api::object::Stored;
use swarm_api::{Kind, Meta, Object, Version, time};

use crate::state::State;
use crate::{StoreError, View, record};

/// What an action costs besides its object: its own frame.
const ACTION_OVERHEAD: usize = 32;

/// An object that was written, and how it was before this transaction.
struct Touched {
    key: (Kind, Arc<str>),
    before: Option<Arc<Object>>,
    /// Version that a caller may have read it at before this transaction wrote it; 0 if it made it.
    based_on: u64,
}

/// Writes on top of a view.
pub struct Transaction {
    // Before the batch; for the times of creation.
    base: View,
    working: View,
    meta: Meta,
    touched: Vec<Touched>,
    known: HashMap<(Kind, Arc<str>), usize>,
}

impl Transaction {
    /// On top of `working`; what it writes is at version `index`.
    pub(crate) fn new(base: View, working: View, (index, now_ns): (u64, i64)) -> Self {
        let now = Some(time::from_nanos(now_ns));
        let meta = Meta { version: Some(Version { index }), created_at: now, updated_at: now };
        Self { base, working, meta, touched: Vec::new(), known: HashMap::new() }
    }

    /// The store with this transaction's writes, which are at the version that they will have.
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
        let at = self.put(object);
        self.touched[at].based_on = 0;
        Ok(())
    }

    /// Replaces an object that has not changed since `object` was read; within this transaction
    /// also what it has itself written since.
    pub fn update<T: Stored>(&mut self, object: T) -> Result<(), StoreError> {
        let (have, want) = (object.version(), self.existing::<T>(object.id())?.version());
        if have != want && self.based_on(T::KIND, object.id()) != Some(have) {
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
        let before = self.state().take(T::KIND, id);
        self.touch((T::KIND, id.into()), before);
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

    fn based_on(&self, kind: Kind, id: &str) -> Option<u64> {
        let at = self.known.get(&(kind, id.into()))?;
        Some(self.touched[*at].based_on)
    }

    fn put<T: Stored>(&mut self, mut object: T) -> usize {
        let mut meta = self.meta;
        if let Some(old) = self.base.get::<T>(object.id()) {
            meta.created_at = old.meta().and_then(|m| m.created_at);
        }
        *object.meta_mut() = Some(meta);
        let key = (T::KIND, Arc::from(object.id()));
        let before = self.state().put(Arc::new(object.into_object()));
        self.touch(key, before)
    }

    fn touch(&mut self, key: (Kind, Arc<str>), before: Option<Arc<Object>>) -> usize {
        let touched = &mut self.touched;
        *self.known.entry(key).or_insert_with_key(|key| {
            let based_on = before.as_deref().map_or(0, record::version);
            touched.push(Touched { key: key.clone(), before, based_on });
            touched.len() - 1
        })
    }

    fn state(&mut self) -> &mut State {
        Arc::make_mut(&mut self.working.0)
    }

    /// At most how large what it wrote is when encoded; `None` if it comes to nothing.
    pub(crate) fn cost(&self) -> Option<usize> {
        let mut cost = None;
        for Touched { key: (kind, id), before, .. } in &self.touched {
            let after = self.working.0.table(*kind).get(id);
            if before.is_some() || after.is_some() {
                let object = after.map_or(id.len(), |object| object.encoded_len());
                *cost.get_or_insert(0) += ACTION_OVERHEAD + object;
            }
        }
        cost
    }

    /// The tables as it leaves them, and kind and id of all that was written, in order of the first
    /// write.
    pub(crate) fn into_parts(self) -> (View, impl Iterator<Item = (Kind, Arc<str>)>) {
        (self.working, self.touched.into_iter().map(|touched| touched.key))
    }

    /// The tables as they were before it.
    pub(crate) fn undo(mut self) -> View {
        let touched = std::mem::take(&mut self.touched);
        for Touched { key: (kind, id), before, .. } in touched.into_iter().rev() {
            match before {
                Some(object) => drop(self.state().put(object)),
                None => drop(self.state().take(kind, &id)),
            }
        }
        self.working
    }
}
