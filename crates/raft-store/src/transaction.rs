//! A set of writes that is applied as a whole or not at all. Reads through it see its own writes.
//!
//! Made by [`crate::Store::transact`]; what it decides becomes one replicated command.

use std::collections::HashSet;
use std::sync::Arc;

use swarm_api::object::Stored;
use swarm_api::store_action::{Action as Act, Remove};
use swarm_api::{Kind, Meta, Object, StoreAction, Version};

use crate::record;
use crate::state::State;
use crate::{StoreError, View};

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

    /// What turns the base into the working view: one action per object touched.
    pub(crate) fn into_actions(self) -> Vec<StoreAction> {
        let change = |(kind, id): &(Kind, String)| {
            let before = self.base.0.table(*kind).get(id);
            let after = self.working.0.table(*kind).get(id);
            let action = match (before, after) {
                (None, None) => return None,
                (None, Some(object)) => Act::Create(Object::clone(object)),
                (Some(old), Some(object)) => Act::Update(based_on(old, object)),
                (Some(_), None) => Act::Remove(Remove { kind: *kind as i32, id: id.clone() }),
            };
            Some(StoreAction { action: Some(action) })
        };
        self.touched.iter().filter_map(change).collect()
    }
}

/// `object` at the version of `old`: differs only when it was removed and created again within the
/// transaction.
fn based_on(old: &Object, object: &Object) -> Object {
    let mut object = object.clone();
    if record::version(&object) != record::version(old) {
        let version = Some(Version { index: record::version(old) });
        let meta = record::meta(&object).copied().unwrap_or_default();
        record::set_meta(&mut object, Meta { version, ..meta });
    }
    object
}
