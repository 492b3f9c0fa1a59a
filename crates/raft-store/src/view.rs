//! An immutable, consistent picture of the store, cheap to keep and to copy.

use std::sync::Arc;

use swarm_api::object::Stored;
use swarm_api::{Cluster, Node, Object, Service, Task, TaskState};

use crate::ResolveError;
use crate::state::State;

/// Name of the one cluster object.
const CLUSTER_NAME: &str = "default";

/// All objects at one version.
#[derive(Clone, Default)]
pub struct View(pub(crate) Arc<State>);

impl std::fmt::Debug for View {
    // Never the objects: they hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("version", &self.0.version).finish_non_exhaustive()
    }
}

fn typed<T: Stored>(object: &Arc<Object>) -> Option<&T> {
    T::from_object(object)
}

impl View {
    /// Index of the last command in it.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// The object of this id.
    pub fn get<T: Stored>(&self, id: &str) -> Option<&T> {
        self.0.table(T::KIND).get(id).and_then(typed)
    }

    /// The object of exactly this name; tasks have none.
    pub fn by_name<T: Stored>(&self, name: &str) -> Option<&T> {
        self.0.table(T::KIND).by_name(name).and_then(typed)
    }

    /// All objects of the kind, ordered by id.
    pub fn all<T: Stored>(&self) -> impl Iterator<Item = &T> {
        self.0.table(T::KIND).iter().filter_map(typed)
    }

    /// How many objects of the kind there are.
    pub fn count<T: Stored>(&self) -> usize {
        self.0.table(T::KIND).len()
    }

    /// The object that the user means: by full id, else by exact name (a node also by its
    /// hostname), else by the only id that starts so.
    pub fn resolve<'a, T: Stored>(&'a self, reference: &str) -> Result<&'a T, ResolveError> {
        let not_found =
            || ResolveError::NotFound { kind: T::NOUN, reference: reference.to_owned() };
        if reference.is_empty() {
            return Err(not_found());
        }
        if let Some(object) = self.get(reference).or_else(|| self.by_name(reference)) {
            return Ok(object);
        }
        let mut found = self.by_hostname::<T>(reference);
        if found.is_empty() {
            found = self.0.table(T::KIND).by_prefix(reference).filter_map(typed).collect();
        }
        match found.as_slice() {
            [] => Err(not_found()),
            [object] => Ok(object),
            _ => Err(ResolveError::Ambiguous {
                kind: T::NOUN,
                reference: reference.to_owned(),
                matches: found.len(),
            }),
        }
    }

    /// Nodes of this hostname, which need not be unique; nothing for other kinds.
    fn by_hostname<'a, T: Stored>(&'a self, hostname: &str) -> Vec<&'a T> {
        let named = |object: &&Arc<Object>| {
            Node::from_object(object).is_some_and(|node| node.hostname() == hostname)
        };
        if T::KIND != Node::KIND {
            return Vec::new();
        }
        self.0.table(T::KIND).iter().filter(named).filter_map(typed).collect()
    }

    /// Tasks of the service, ordered by id.
    pub fn tasks_of_service(&self, service_id: &str) -> impl Iterator<Item = &Task> {
        self.0.indexes().tasks_by_service.get(service_id.into()).filter_map(typed)
    }

    /// Tasks assigned to the node, ordered by id; `""` for those not assigned yet.
    pub fn tasks_of_node(&self, node_id: &str) -> impl Iterator<Item = &Task> {
        self.0.indexes().tasks_by_node.get(node_id.into()).filter_map(typed)
    }

    /// Tasks of one slot (1…N) of a replicated service, old ones included, ordered by id.
    pub fn tasks_of_slot(&self, service_id: &str, slot: u64) -> impl Iterator<Item = &Task> {
        self.0.indexes().tasks_by_slot.get((service_id.into(), slot)).filter_map(typed)
    }

    /// Tasks that are to be in this state, ordered by id.
    pub fn tasks_desired(&self, state: TaskState) -> impl Iterator<Item = &Task> {
        self.0.indexes().tasks_by_desired.get(state as i32).filter_map(typed)
    }

    /// Services whose spec mounts the secret of this id.
    pub fn services_using_secret(&self, id: &str) -> impl Iterator<Item = &Service> {
        self.0.indexes().services_by_secret.get(id.into()).filter_map(typed)
    }

    /// Services whose spec mounts the config of this id.
    pub fn services_using_config(&self, id: &str) -> impl Iterator<Item = &Service> {
        self.0.indexes().services_by_config.get(id.into()).filter_map(typed)
    }

    /// Services whose spec attaches to the network of this id.
    pub fn services_using_network(&self, id: &str) -> impl Iterator<Item = &Service> {
        self.0.indexes().services_by_network.get(id.into()).filter_map(typed)
    }

    /// The cluster object; none before the cluster is initialised.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.by_name(CLUSTER_NAME)
    }

    /// Version at which the request of this id was applied, if it is still remembered.
    pub fn request_applied(&self, request_id: &str) -> Option<u64> {
        self.0.request(request_id)
    }
}
