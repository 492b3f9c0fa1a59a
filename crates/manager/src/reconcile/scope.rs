//! What a pass looks at: everything, or what commits have touched since the last pass.

use std::collections::BTreeSet;

use swarm_api::{Cluster, Network, Node, Service, Task};
use swarm_raft_store::{Action, Change, View};

/// Services and nodes to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scope {
    pub(super) everything: bool,
    pub(super) services: BTreeSet<String>,
    pub(super) nodes: BTreeSet<String>,
    /// Something was freed or added: what waits may fit now.
    pub(super) retry_waiting: bool,
    /// A network wants its allocation.
    pub(super) networks: bool,
}

impl Scope {
    pub(super) fn everything() -> Scope {
        Scope { everything: true, ..Scope::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Scope::default()
    }

    pub(super) fn note(&mut self, change: &Change) {
        if let Some(task) = change.object::<Task>() {
            self.note_task(change.action, task, change.old());
        } else if let Some(service) = change.object::<Service>() {
            self.services.insert(service.id.clone());
            // Its ports and addresses may be what another one waits for.
            self.retry_waiting |= change.action != Action::Created;
        } else if let Some(node) = change.object::<Node>() {
            self.everything |= change.action != Action::Updated || matters(node, change.old());
        } else if let Some(cluster) = change.object::<Cluster>() {
            let settings = |c: &Cluster| (c.spec.clone(), c.default_addr_pool.clone());
            self.everything |= change.old().map(settings) != Some(settings(cluster));
        } else if change.object::<Network>().is_some() {
            self.networks = true;
            self.retry_waiting = true;
        }
    }

    fn note_task(&mut self, action: Action, task: &Task, old: Option<&Task>) {
        self.services.insert(task.service_id.clone());
        let frees = action == Action::Removed
            || (task.is_terminal() && old.is_some_and(|o| !o.is_terminal()));
        if frees && !task.node_id.is_empty() {
            self.nodes.insert(task.node_id.clone());
        }
        self.retry_waiting |= frees;
    }

    pub(super) fn services(&self, view: &View) -> BTreeSet<String> {
        if !self.everything {
            return self.services.clone();
        }
        let owners = view.all::<Task>().map(|t| &t.service_id);
        view.all::<Service>().map(|s| &s.id).chain(owners).cloned().collect()
    }

    pub(super) fn nodes(&self, view: &View) -> BTreeSet<String> {
        if !self.everything {
            return self.nodes.clone();
        }
        view.all::<Node>().map(|n| n.id.clone()).collect()
    }
}

/// Whether a node's change bears on any decision. What the manager itself writes to a node does not.
fn matters(node: &Node, old: Option<&Node>) -> bool {
    let Some(old) = old else { return true };
    let state = |n: &Node| n.status.as_ref().map(|s| (s.state, s.addr.clone()));
    node.spec != old.spec
        || node.description != old.description
        || node.role != old.role
        || state(node) != state(old)
}
