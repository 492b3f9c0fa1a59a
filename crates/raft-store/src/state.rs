//! The tables and their secondary indexes, as persistent maps: a copy is a handful of reference
//! counts.
//!
//! It checks nothing: `apply` does, before it writes here. Reading is done through [`crate::View`].

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use swarm_api::object::Stored;
use swarm_api::{Kind, Object, Task};

use crate::record::{self, KINDS};

/// How many request ids are remembered; a client retries within seconds, so this covers minutes at
/// full load.
pub(crate) const REQUESTS_KEPT: usize = 10_000;

/// Objects of one kind.
#[derive(Clone, Default)]
pub(crate) struct Table {
    by_id: OrdMap<Arc<str>, Arc<Object>>,
    by_name: OrdMap<Arc<str>, Arc<str>>,
}

impl Table {
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Object>> {
        self.by_id.get(id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Object>> {
        self.by_id.get(&**self.by_name.get(name)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Objects whose id starts with `prefix`, in order.
    pub(crate) fn by_prefix<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.by_id
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .map(|(_, object)| object)
    }
}

/// Tasks by something that they refer to.
#[derive(Clone, Default)]
pub(crate) struct Index(OrdMap<Arc<str>, OrdMap<Arc<str>, Arc<Object>>>);

impl Index {
    fn put(&mut self, key: &str, id: &Arc<str>, object: &Arc<Object>) {
        if let Some(group) = self.0.get_mut(key) {
            group.insert(Arc::clone(id), Arc::clone(object));
        } else {
            self.0.insert(key.into(), OrdMap::unit(Arc::clone(id), Arc::clone(object)));
        }
    }

    fn remove(&mut self, key: &str, id: &str) {
        let Some(group) = self.0.get_mut(key) else { return };
        group.remove(id);
        if group.is_empty() {
            self.0.remove(key);
        }
    }

    pub(crate) fn get(&self, key: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.0.get(key).into_iter().flat_map(OrdMap::values)
    }
}

/// All that is replicated.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    tables: [Table; KINDS],
    tasks_by_service: Index,
    tasks_by_node: Index,
    // Two ways into the same set: which version a request was applied at, and which is the oldest.
    requests: OrdMap<Arc<str>, u64>,
    requests_by_version: OrdMap<u64, Arc<str>>,
}

impl State {
    pub(crate) fn table(&self, kind: Kind) -> &Table {
        // Kinds are numbered from 0 without gaps below KINDS.
        &self.tables[kind as usize]
    }

    /// Version at which the request was applied, if it is still remembered.
    pub(crate) fn request(&self, id: &str) -> Option<u64> {
        self.requests.get(id).copied()
    }

    /// Remembers a request, and forgets the oldest ones beyond the bound.
    pub(crate) fn remember(&mut self, id: &str, version: u64) {
        let id: Arc<str> = id.into();
        self.requests.insert(Arc::clone(&id), version);
        self.requests_by_version.insert(version, id);
        while self.requests_by_version.len() > REQUESTS_KEPT {
            let (Some((_, oldest)), rest) = self.requests_by_version.without_min_with_key() else {
                break;
            };
            self.requests_by_version = rest;
            self.requests.remove(&*oldest);
        }
    }

    /// Remembered requests, oldest first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&str, u64)> {
        self.requests_by_version.iter().map(|(version, id)| (&**id, *version))
    }

    /// Inserts or replaces; the object before, if any.
    pub(crate) fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let kind = record::kind(&object);
        let old = self.take(kind, record::id(&object));
        let id: Arc<str> = record::id(&object).into();
        let table = &mut self.tables[kind as usize];
        if !record::name(&object).is_empty() {
            table.by_name.insert(record::name(&object).into(), Arc::clone(&id));
        }
        if let Some(task) = Task::from_object(&object) {
            self.tasks_by_service.put(&task.service_id, &id, &object);
            self.tasks_by_node.put(&task.node_id, &id, &object);
        }
        self.tables[kind as usize].by_id.insert(id, object);
        old
    }

    /// Removes; what was there.
    pub(crate) fn take(&mut self, kind: Kind, id: &str) -> Option<Arc<Object>> {
        let table = &mut self.tables[kind as usize];
        let old = table.by_id.remove(id)?;
        let name = record::name(&old);
        // The name may have passed to another object within the same transaction.
        if table.by_name.get(name).is_some_and(|owner| &**owner == id) {
            table.by_name.remove(name);
        }
        if let Some(task) = Task::from_object(&old) {
            self.tasks_by_service.remove(&task.service_id, id);
            self.tasks_by_node.remove(&task.node_id, id);
        }
        Some(old)
    }

    pub(crate) fn tasks_of_service(&self, id: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.tasks_by_service.get(id)
    }

    pub(crate) fn tasks_of_node(&self, id: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.tasks_by_node.get(id)
    }
}
