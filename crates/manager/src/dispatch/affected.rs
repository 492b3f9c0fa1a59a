//! Whom a commit concerns: which parts of which nodes' assignments it may have changed. So the change of one task costs
//! the nodes of its networks a look at one service, and everybody else nothing.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::{Cluster, Config, Network, Node, Secret, Service, Task};
use swarm_raft_store::{Action, Change, View};

use super::content::Part;
use super::endpoint::{ingress, is_ready, is_routable, networks_of};

/// What a burst of commits has touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Nodes whose own things changed.
    own: BTreeSet<String>,
    /// Nodes whose networks changed.
    all: BTreeSet<String>,
    everyone_own: bool,
    peers: BTreeSet<String>,
    /// Services, with the networks where it matters.
    services: BTreeMap<String, BTreeSet<String>>,
    /// Nodes whose session message changed.
    sessions: BTreeSet<String>,
    every_session: bool,
}

impl Touched {
    /// Notes a change. `view` is the store at or after it.
    pub(super) fn note(&mut self, view: &View, change: &Change) {
        if let Some(task) = change.object::<Task>() {
            self.note_task(view, task, change.action, change.old());
        } else if let Some(service) = change.object::<Service>() {
            let networks = self.services.entry(service.id.clone()).or_default();
            networks.extend(networks_of(view, service));
            networks.extend(change.old::<Service>().into_iter().flat_map(|s| networks_of(view, s)));
        } else if let Some(node) = change.object::<Node>() {
            self.note_node(view, node, change.action, change.old());
        } else if change.object::<Cluster>().is_some() {
            self.every_session = true;
        } else {
            let network = change.object::<Network>().is_some();
            let material =
                change.object::<Secret>().is_some() || change.object::<Config>().is_some();
            // New ones are not in use yet.
            self.everyone_own |= (network || material) && change.action == Action::Updated;
        }
    }

    fn note_task(&mut self, view: &View, task: &Task, action: Action, old: Option<&Task>) {
        let removed = action == Action::Removed;
        let same = |old: &Task| {
            (old.desired_state, old.is_terminal(), &old.node_id, &old.networks)
                == (task.desired_state, task.is_terminal(), &task.node_id, &task.networks)
                && is_routable(old) == is_routable(task)
        };
        if removed || !old.is_some_and(same) {
            self.own.insert(task.node_id.clone());
            self.own.extend(old.map(|t| t.node_id.clone()));
        }
        let counted = |t: &Task| (is_routable(t), is_ready(view, t), t.networks.clone());
        let before = old.map(counted).filter(|(routable, ..)| *routable);
        let after = Some(counted(task)).filter(|(routable, ..)| *routable && !removed);
        if before != after {
            let networks = self.services.entry(task.service_id.clone()).or_default();
            networks.extend(task.networks.iter().map(|a| a.network_id.clone()));
        }
    }

    fn note_node(&mut self, view: &View, node: &Node, action: Action, old: Option<&Node>) {
        self.sessions.insert(node.id.clone());
        self.every_session |=
            node.manager_status.is_some() || old.is_some_and(|o| o.manager_status.is_some());
        let known = |n: &Node| (n.description.clone(), n.attachments.clone(), n.is_ready());
        if action != Action::Updated || old.map(known) != Some(known(node)) {
            self.peers.insert(node.id.clone());
        }
        if old.is_none_or(|o| o.attachments != node.attachments) {
            self.all.insert(node.id.clone());
        }
        if action != Action::Updated || old.is_some_and(|o| o.is_down() != node.is_down()) {
            for task in view.tasks_of_node(&node.id) {
                let networks = self.services.entry(task.service_id.clone()).or_default();
                networks.extend(task.networks.iter().map(|a| a.network_id.clone()));
            }
        }
    }

    /// What must be looked at for this node.
    pub(super) fn part_for(&self, view: &View, node_id: &str) -> Part {
        if self.all.contains(node_id) {
            return Part::all();
        }
        let attachments = view.get::<Node>(node_id).map_or(&[][..], |n| &n.attachments);
        let ingress = ingress(view).map(|n| n.id.as_str());
        let has = |id: &String| {
            Some(id.as_str()) == ingress || attachments.iter().any(|a| a.network_id == *id)
        };
        let concerned = self.services.iter().filter(|(_, networks)| networks.iter().any(has));
        let mut peers = self.peers.clone();
        peers.remove(node_id);
        Part {
            all: false,
            own: self.everyone_own || self.own.contains(node_id),
            services: concerned.map(|(id, _)| id.clone()).collect(),
            peers,
        }
    }

    /// Whether this node's session message may have changed.
    pub(super) fn concerns_session(&self, node_id: &str) -> bool {
        self.every_session || self.sessions.contains(node_id)
    }
}
