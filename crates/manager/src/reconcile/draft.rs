//! A view with the writes that a pass wants on top: what one step decided, the next one sees. Becomes a
//! [`Plan`](super::Plan) at the end. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::object::Stored;
use swarm_api::time::{from_nanos, to_nanos};
use swarm_api::{Network, Node, Service, Task, TaskState};
use swarm_raft_store::View;

/// Working copy of one pass.
pub(super) struct Draft<'a> {
    pub(super) view: &'a View,
    /// Nanoseconds since the epoch; the same for the whole pass.
    pub(super) now: i64,
    ids: &'a mut dyn FnMut() -> String,
    /// Tasks written; `None` if removed.
    pub(super) tasks: BTreeMap<String, Option<Task>>,
    made_for_service: BTreeMap<String, BTreeSet<String>>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) networks: BTreeMap<String, Network>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a View, now: i64, ids: &'a mut dyn FnMut() -> String) -> Self {
        Draft {
            view,
            now,
            ids,
            tasks: BTreeMap::new(),
            made_for_service: BTreeMap::new(),
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            networks: BTreeMap::new(),
        }
    }

    pub(super) fn new_id(&mut self) -> String {
        (self.ids)()
    }

    pub(super) fn task(&self, id: &str) -> Option<&Task> {
        match self.tasks.get(id) {
            Some(written) => written.as_ref(),
            None => self.view.get(id),
        }
    }

    pub(super) fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id).or_else(|| self.view.get(id))
    }

    pub(super) fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id).or_else(|| self.view.get(id))
    }

    pub(super) fn network(&self, id: &str) -> Option<&Network> {
        self.networks.get(id).or_else(|| self.view.get(id))
    }

    pub(super) fn all_nodes(&self) -> impl Iterator<Item = &Node> {
        self.view.all::<Node>().map(|n| self.nodes.get(&n.id).unwrap_or(n))
    }

    pub(super) fn all_services(&self) -> impl Iterator<Item = &Service> {
        self.view.all::<Service>().map(|s| self.services.get(&s.id).unwrap_or(s))
    }

    pub(super) fn all_networks(&self) -> impl Iterator<Item = &Network> {
        self.view.all::<Network>().map(|n| self.networks.get(&n.id).unwrap_or(n))
    }

    /// All tasks: the stored ones as they stand now, then those made in this pass.
    pub(super) fn all_tasks(&self) -> impl Iterator<Item = &Task> {
        let made = self.made_for_service.values().flatten();
        self.overlaid(self.view.all::<Task>()).chain(made.filter_map(|id| self.task(id)))
    }

    pub(super) fn tasks_of_service(&self, service_id: &str) -> impl Iterator<Item = &Task> {
        let made = self.made_for_service.get(service_id).into_iter().flatten();
        let stored = self.view.tasks_of_service(service_id);
        self.overlaid(stored).chain(made.filter_map(|id| self.task(id)))
    }

    /// Tasks that are on the node now, or are meant for it.
    pub(super) fn tasks_of_node(&self, node_id: &str) -> impl Iterator<Item = &Task> {
        let before =
            |t: &&Task| self.view.get::<Task>(&t.id).is_some_and(|o| o.node_id == t.node_id);
        let written = self.tasks.values().flatten();
        let moved = written.filter(move |t| t.node_id == node_id && !before(t));
        self.overlaid(self.view.tasks_of_node(node_id)).chain(moved)
    }

    fn overlaid<'s>(
        &'s self,
        stored: impl Iterator<Item = &'s Task>,
    ) -> impl Iterator<Item = &'s Task> {
        stored.filter_map(|t| match self.tasks.get(&t.id) {
            Some(written) => written.as_ref(),
            None => Some(t),
        })
    }

    /// Adds or replaces a task.
    pub(super) fn put_task(&mut self, task: Task) {
        if self.task(&task.id) == Some(&task) {
            return;
        }
        if self.view.get::<Task>(&task.id).is_none() {
            let made = self.made_for_service.entry(task.service_id.clone()).or_default();
            made.insert(task.id.clone());
        }
        self.tasks.insert(task.id.clone(), Some(task));
    }

    pub(super) fn remove_task(&mut self, id: &str) {
        self.tasks.insert(id.to_owned(), None);
    }

    pub(super) fn edit_task(&mut self, id: &str, edit: impl FnOnce(&mut Task)) {
        if let Some(mut task) = self.task(id).cloned() {
            edit(&mut task);
            self.put_task(task);
        }
    }

    /// Raises what is desired of a task; it never falls.
    pub(super) fn desire(&mut self, id: &str, desired: TaskState) {
        if self.task(id).is_some_and(|t| t.desired_state() < desired) {
            self.edit_task(id, |t| t.set_desired_state(desired));
        }
    }

    /// Sets what is observed of a task, where the manager is the one who knows.
    pub(super) fn observe(&mut self, id: &str, state: TaskState, message: &str) {
        let now = self.now;
        self.edit_task(id, |t| {
            let status = t.status.get_or_insert_default();
            if status.state() == state && status.message == message {
                return;
            }
            status.set_state(state);
            message.clone_into(&mut status.message);
            status.timestamp = Some(from_nanos(now));
        });
    }

    pub(super) fn put_service(&mut self, service: Service) {
        if self.service(&service.id) != Some(&service) {
            self.services.insert(service.id.clone(), service);
        }
    }

    pub(super) fn put_node(&mut self, node: Node) {
        if self.node(&node.id) != Some(&node) {
            self.nodes.insert(node.id.clone(), node);
        }
    }

    /// When a task was made; now, if in this pass.
    pub(super) fn made_at(&self, task: &Task) -> i64 {
        task.meta().and_then(|m| m.created_at.as_ref()).map_or(self.now, to_nanos)
    }
}
