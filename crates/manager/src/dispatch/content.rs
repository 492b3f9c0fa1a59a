//! All that one node must know, as a pure function of the view: its tasks and what they need, its networks, the services
//! on them, and the other nodes. Computed whole for a new stream and in parts when something changes.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::object::Stored;
use swarm_api::{
    Assignment, Config, ConfigAssignment, EndpointAssignment, Network, NetworkAssignment, Node,
    PeerAssignment, Secret, SecretAssignment, Service, Task, TaskState, assignment,
};
use swarm_raft_store::View;

use super::endpoint::{endpoints_of, ingress};

/// What an assignment is about. The order is that in which an agent can use them: a task comes after all it needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Secret id.
    Secret(String),
    /// Config id.
    Config(String),
    /// Network id.
    Network(String),
    /// Node id.
    Peer(String),
    /// Service id and network id.
    Endpoint(String, String),
    /// Task id.
    Task(String),
}

/// Which of a node's assignments may have changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) all: bool,
    /// Its tasks, their secrets and configs, its networks.
    pub(super) own: bool,
    /// Endpoints of these services.
    pub(super) services: BTreeSet<String>,
    /// These other nodes.
    pub(super) peers: BTreeSet<String>,
}

impl Part {
    pub(super) fn all() -> Part {
        Part { all: true, ..Part::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Part::default()
    }

    pub(super) fn join(&mut self, other: Part) {
        self.all |= other.all;
        self.own |= other.own;
        self.services.extend(other.services);
        self.peers.extend(other.peers);
    }

    pub(super) fn covers(&self, key: &Key) -> bool {
        self.all
            || match key {
                Key::Secret(_) | Key::Config(_) | Key::Network(_) | Key::Task(_) => self.own,
                Key::Peer(id) => self.peers.contains(id),
                Key::Endpoint(service_id, _) => self.services.contains(service_id),
            }
    }
}

/// All assignments of the node.
pub fn assignments_of(view: &View, node_id: &str) -> BTreeMap<Key, Assignment> {
    part_of(view, node_id, &Part::all())
}

/// The assignments of the node that `part` covers.
pub(super) fn part_of(view: &View, node_id: &str, part: &Part) -> BTreeMap<Key, Assignment> {
    let Some(node) = view.get::<Node>(node_id) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    let networks = networks_of(view, node);
    if part.all || part.own {
        own(view, node, &networks, &mut found);
    }
    if part.all {
        let peers = view.all::<Node>().filter(|n| n.id != node_id);
        peers.for_each(|peer| add_peer(peer, &networks, &mut found));
        let services = view.all::<Service>();
        services.for_each(|s| add_endpoints(view, &s.id, &networks, &mut found));
        return found;
    }
    let peers = part.peers.iter().filter(|id| *id != node_id);
    peers
        .filter_map(|id| view.get::<Node>(id))
        .for_each(|peer| add_peer(peer, &networks, &mut found));
    part.services.iter().for_each(|id| add_endpoints(view, id, &networks, &mut found));
    found
}

/// Networks that the node must realise: where it has an address, and those of its live tasks.
pub(super) fn networks_of(view: &View, node: &Node) -> BTreeSet<String> {
    let attached = node.attachments.iter().map(|a| a.network_id.clone());
    let live = view.tasks_of_node(&node.id).filter(|t| !t.is_terminal());
    let used = live.flat_map(|t| t.networks.iter().map(|a| a.network_id.clone()));
    attached.chain(used).chain(ingress(view).map(|n| n.id.clone())).collect()
}

fn own(
    view: &View,
    node: &Node,
    networks: &BTreeSet<String>,
    found: &mut BTreeMap<Key, Assignment>,
) {
    for task in view.tasks_of_node(&node.id).filter(|t| t.state() >= TaskState::Assigned) {
        if !task.is_terminal() {
            add_material(view, task, found);
        }
        let item = assignment::Item::Task(task.clone());
        found.insert(Key::Task(task.id.clone()), wrap(item));
    }
    for network in networks.iter().filter_map(|id| view.get::<Network>(id)) {
        let address = node.attachments.iter().find(|a| a.network_id == network.id);
        let item = assignment::Item::Network(NetworkAssignment {
            id: network.id.clone(),
            name: network.name().to_owned(),
            spec: network.spec.clone(),
            vni: network.vni,
            subnet: network.subnet.clone(),
            gateway: network.gateway.clone(),
            more_subnets: network.more_subnets.clone(),
            subnet6: network.subnet6.clone(),
            gateway6: network.gateway6.clone(),
            node_address: address.map_or_else(String::new, |a| a.address.clone()),
        });
        found.insert(Key::Network(network.id.clone()), wrap(item));
    }
}

/// The secrets and configs that the task mounts, and no others.
fn add_material(view: &View, task: &Task, found: &mut BTreeMap<Key, Assignment>) {
    let Some(container) = task.spec.as_ref().and_then(|s| s.container.as_ref()) else { return };
    for id in container.secrets.iter().map(|r| &r.secret_id) {
        let key = Key::Secret(id.clone());
        let Some(secret) = view.get::<Secret>(id) else { continue };
        found.entry(key).or_insert_with(|| {
            let data = secret.spec.as_ref().map_or_else(Vec::new, |s| s.data.clone());
            wrap(assignment::Item::Secret(SecretAssignment { id: id.clone(), data }))
        });
    }
    for id in container.configs.iter().map(|r| &r.config_id) {
        let key = Key::Config(id.clone());
        let Some(config) = view.get::<Config>(id) else { continue };
        found.entry(key).or_insert_with(|| {
            let data = config.spec.as_ref().map_or_else(Vec::new, |s| s.data.clone());
            wrap(assignment::Item::Config(ConfigAssignment { id: id.clone(), data }))
        });
    }
}

/// A node that never described itself has nothing to be reached at.
fn add_peer(peer: &Node, networks: &BTreeSet<String>, found: &mut BTreeMap<Key, Assignment>) {
    let Some(description) = &peer.description else { return };
    let shared = peer.attachments.iter().filter(|a| networks.contains(&a.network_id));
    let item = assignment::Item::Peer(PeerAssignment {
        id: peer.id.clone(),
        hostname: description.hostname.clone(),
        data_path_addr: description.data_path_addr.clone(),
        listen_addr: description.listen_addr.clone(),
        data_path_mtu: description.data_path_mtu,
        attachments: shared.cloned().collect(),
        ready: peer.is_ready(),
    });
    found.insert(Key::Peer(peer.id.clone()), wrap(item));
}

fn add_endpoints(
    view: &View,
    service_id: &str,
    networks: &BTreeSet<String>,
    found: &mut BTreeMap<Key, Assignment>,
) {
    let here = |e: &EndpointAssignment| networks.contains(&e.network_id);
    for endpoint in endpoints_of(view, service_id).into_iter().filter(here) {
        let key = Key::Endpoint(service_id.to_owned(), endpoint.network_id.clone());
        found.insert(key, wrap(assignment::Item::Endpoint(endpoint)));
    }
}

fn wrap(item: assignment::Item) -> Assignment {
    Assignment { item: Some(item) }
}

/// Only what names it, for a removal.
pub(super) fn bare(key: &Key) -> Assignment {
    use assignment::Item;
    wrap(match key.clone() {
        Key::Secret(id) => Item::Secret(SecretAssignment { id, ..Default::default() }),
        Key::Config(id) => Item::Config(ConfigAssignment { id, ..Default::default() }),
        Key::Network(id) => Item::Network(NetworkAssignment { id, ..Default::default() }),
        Key::Peer(id) => Item::Peer(PeerAssignment { id, ..Default::default() }),
        Key::Endpoint(service_id, network_id) => Item::Endpoint(EndpointAssignment {
            id: format!("{service_id}/{network_id}"),
            service_id,
            network_id,
            ..Default::default()
        }),
        Key::Task(id) => Item::Task(Task { id, ..Default::default() }),
    })
}
