//! The tables and their secondary indexes, as persistent maps: a copy is a handful of reference
//! counts.
//!
//! It checks nothing: `apply` does, before it writes here. Reading is done through [`crate::View`].

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use swarm_api::object::Stored;
use swarm_api::{Kind, Object, Service, Task, TaskSpec};

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

    fn forget_name(&mut self, name: &str, id: &Arc<str>) {
        // It may have passed to another object within the same transaction.
        if self.by_name.get(name).is_some_and(|owner| owner == id) {
            self.by_name.remove(name);
        }
    }

    /// Objects whose id starts with `prefix`, in order.
    pub(crate) fn by_prefix<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.by_id
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .map(|(_, object)| object)
    }
}

/// Objects by something that they say or refer to. One map, because most groups are small.
#[derive(Clone)]
pub(crate) struct Index<K>(OrdMap<(K, Arc<str>), Arc<Object>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<K: Ord + Clone> Index<K> {
    fn put(&mut self, key: K, id: &Arc<str>, object: &Arc<Object>) {
        self.0.insert((key, Arc::clone(id)), Arc::clone(object));
    }

    fn remove(&mut self, key: K, id: &Arc<str>) {
        self.0.remove(&(key, Arc::clone(id)));
    }

    /// Ordered by id.
    pub(crate) fn get(&self, key: K) -> impl Iterator<Item = &Arc<Object>> {
        let first = (key.clone(), Arc::from(""));
        let group = self.0.range(first..).take_while(move |((at, _), _)| *at == key);
        group.map(|(_, object)| object)
    }
}

/// What is looked up otherwise than by id or name.
#[derive(Clone, Default)]
pub(crate) struct Indexes {
    pub(crate) tasks_by_service: Index<Arc<str>>,
    pub(crate) tasks_by_node: Index<Arc<str>>,
    /// Service and slot; tasks of global services have no slot and are not in it.
    pub(crate) tasks_by_slot: Index<(Arc<str>, u64)>,
    pub(crate) tasks_by_desired: Index<i32>,
    pub(crate) services_by_network: Index<Arc<str>>,
    pub(crate) services_by_secret: Index<Arc<str>>,
    pub(crate) services_by_config: Index<Arc<str>>,
}

impl Indexes {
    fn put(&mut self, id: &Arc<str>, object: &Arc<Object>) {
        if let Some(task) = Task::from_object(object) {
            let service: Arc<str> = task.service_id.as_str().into();
            if task.slot != 0 {
                self.tasks_by_slot.put((Arc::clone(&service), task.slot), id, object);
            }
            self.tasks_by_service.put(service, id, object);
            self.tasks_by_node.put(task.node_id.as_str().into(), id, object);
            self.tasks_by_desired.put(task.desired_state, id, object);
        } else if let Some(service) = Service::from_object(object) {
            let task = service.spec.as_ref().and_then(|s| s.task.as_ref());
            networks(task).for_each(|key| self.services_by_network.put(key.into(), id, object));
            secrets(task).for_each(|key| self.services_by_secret.put(key.into(), id, object));
            configs(task).for_each(|key| self.services_by_config.put(key.into(), id, object));
        }
    }

    /// Removes what the new object, which is put next, does not put itself.
    fn leave(&mut self, id: &Arc<str>, old: &Object, new: &Object) {
        let (Some(old), Some(new)) = (Task::from_object(old), Task::from_object(new)) else {
            return self.remove(id, old);
        };
        // What changes most, a task's status, is in none of them.
        if old.service_id != new.service_id {
            self.tasks_by_service.remove(old.service_id.as_str().into(), id);
        }
        if (&old.service_id, old.slot) != (&new.service_id, new.slot) && old.slot != 0 {
            self.tasks_by_slot.remove((old.service_id.as_str().into(), old.slot), id);
        }
        if old.node_id != new.node_id {
            self.tasks_by_node.remove(old.node_id.as_str().into(), id);
        }
        if old.desired_state != new.desired_state {
            self.tasks_by_desired.remove(old.desired_state, id);
        }
    }

    fn remove(&mut self, id: &Arc<str>, object: &Object) {
        if let Some(task) = Task::from_object(object) {
            let service: Arc<str> = task.service_id.as_str().into();
            if task.slot != 0 {
                self.tasks_by_slot.remove((Arc::clone(&service), task.slot), id);
            }
            self.tasks_by_service.remove(service, id);
            self.tasks_by_node.remove(task.node_id.as_str().into(), id);
            self.tasks_by_desired.remove(task.desired_state, id);
        } else if let Some(service) = Service::from_object(object) {
            let task = service.spec.as_ref().and_then(|s| s.task.as_ref());
            networks(task).for_each(|key| self.services_by_network.remove(key.into(), id));
            secrets(task).for_each(|key| self.services_by_secret.remove(key.into(), id));
            configs(task).for_each(|key| self.services_by_config.remove(key.into(), id));
        }
    }
}

fn networks(task: Option<&TaskSpec>) -> impl Iterator<Item = &str> {
    task.into_iter().flat_map(|t| t.networks.iter().map(|n| n.target.as_str()))
}

fn secrets(task: Option<&TaskSpec>) -> impl Iterator<Item = &str> {
    let container = task.and_then(|t| t.container.as_ref());
    container.into_iter().flat_map(|c| c.secrets.iter().map(|r| r.secret_id.as_str()))
}

fn configs(task: Option<&TaskSpec>) -> impl Iterator<Item = &str> {
    let container = task.and_then(|t| t.container.as_ref());
    container.into_iter().flat_map(|c| c.configs.iter().map(|r| r.config_id.as_str()))
}

/// All that is replicated.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    tables: [Table; KINDS],
    indexes: Indexes,
    // Two ways into the same set: which version a request was applied at, and which is the oldest.
    requests: OrdMap<Arc<str>, u64>,
    requests_by_version: OrdSet<(u64, Arc<str>)>,
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
        self.requests_by_version.insert((version, id));
        while self.requests_by_version.len() > REQUESTS_KEPT {
            let Some(oldest) = self.requests_by_version.get_min().cloned() else { break };
            self.requests_by_version.remove(&oldest);
            self.requests.remove(&*oldest.1);
        }
    }

    /// Remembered requests, oldest first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&str, u64)> {
        self.requests_by_version.iter().map(|(version, id)| (&**id, *version))
    }

    /// Inserts or replaces; the object before, if any.
    pub(crate) fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let table = &mut self.tables[record::kind(&object) as usize];
        let name = record::name(&object);
        let known = table.by_id.get_key_value(record::id(&object));
        let known = known.map(|(id, old)| (Arc::clone(id), Arc::clone(old)));
        let id = match &known {
            Some((id, old)) => {
                if record::name(old) != name {
                    table.forget_name(record::name(old), id);
                }
                self.indexes.leave(id, old, &object);
                Arc::clone(id)
            }
            None => record::id(&object).into(),
        };
        let renamed = known.as_ref().is_none_or(|(_, old)| record::name(old) != name);
        if !name.is_empty() && renamed {
            table.by_name.insert(name.into(), Arc::clone(&id));
        }
        self.indexes.put(&id, &object);
        table.by_id.insert(id, object);
        known.map(|(_, old)| old)
    }

    /// Removes; what was there.
    pub(crate) fn take(&mut self, kind: Kind, id: &str) -> Option<Arc<Object>> {
        let table = &mut self.tables[kind as usize];
        let (id, old) = table.by_id.remove_with_key(id)?;
        table.forget_name(record::name(&old), &id);
        self.indexes.remove(&id, &old);
        Some(old)
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.indexes
    }
}
