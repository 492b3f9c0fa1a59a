//! What nodes are told of a service: on each network its addresses, names and backends. The same for every node.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::{
    Backend, EndpointAssignment, Network, Node, PublishMode, Service, Task, TaskState,
};
use swarm_raft_store::View;

/// The service on each of its networks.
pub(super) fn endpoints_of(view: &View, service_id: &str) -> Vec<EndpointAssignment> {
    let Some(service) = view.get::<Service>(service_id) else { return Vec::new() };
    let mut backends: BTreeMap<String, Vec<Backend>> = BTreeMap::new();
    for task in view.tasks_of_service(service_id).filter(|t| is_routable(t)) {
        for attachment in task.networks.iter().filter(|a| !a.address.is_empty()) {
            let on_network = backends.entry(attachment.network_id.clone()).or_default();
            on_network.push(backend(view, task, &attachment.address));
        }
    }
    let mut networks = networks_of(view, service);
    networks.extend(backends.keys().cloned());
    networks
        .into_iter()
        .map(|id| endpoint(view, service, backends.remove(&id).unwrap_or_default(), id))
        .collect()
}

fn endpoint(
    view: &View,
    service: &Service,
    backends: Vec<Backend>,
    network_id: String,
) -> EndpointAssignment {
    let state = service.endpoint.as_ref();
    let virtual_ips = state.map_or(&[][..], |e| &e.virtual_ips);
    let vip = virtual_ips.iter().find(|v| v.network_id == network_id);
    let ports = state.filter(|_| is_ingress(view, &network_id)).map_or(&[][..], |e| &e.ports);
    let asked = service.spec.as_ref().and_then(|s| s.endpoint.clone()).unwrap_or_default();
    let configs = service.spec.as_ref().and_then(|s| s.task.as_ref());
    let configs = configs.map_or(&[][..], |t| &t.networks);
    EndpointAssignment {
        id: format!("{}/{network_id}", service.id),
        service_id: service.id.clone(),
        service_name: service.spec_name().to_owned(),
        virtual_ip: vip.map_or_else(String::new, |v| v.address.clone()),
        aliases: configs
            .iter()
            .filter(|c| c.target == network_id)
            .flat_map(|c| c.aliases.iter().cloned())
            .collect(),
        backends,
        ports: ports.iter().filter(|p| p.mode() == PublishMode::Ingress).cloned().collect(),
        lb_policy: asked.lb_policy,
        idle_timeout: asked.idle_timeout,
        network_id,
    }
}

fn backend(view: &View, task: &Task, address: &str) -> Backend {
    Backend {
        task_id: task.id.clone(),
        task_name: task.full_name(),
        address: address.to_owned(),
        node_id: task.node_id.clone(),
        ready: is_ready(view, task),
    }
}

/// On a node and not ended: its address means something.
pub(super) fn is_routable(task: &Task) -> bool {
    (TaskState::Assigned..=TaskState::Running).contains(&task.state())
}

/// Takes requests. A task that is to stop leaves here first: its agent stops it only afterwards.
pub(super) fn is_ready(view: &View, task: &Task) -> bool {
    task.state() == TaskState::Running
        && task.desired_state() <= TaskState::Running
        && view.get::<Node>(&task.node_id).is_some_and(|n| !n.is_down())
}

/// Networks on which the service is known, whether or not it has tasks there.
pub(super) fn networks_of(view: &View, service: &Service) -> BTreeSet<String> {
    let spec = service.spec.as_ref().and_then(|s| s.task.as_ref());
    let asked = spec.map_or(&[][..], |t| &t.networks).iter().map(|c| &c.target);
    let asked = asked.filter(|id| view.get::<Network>(id).is_some_and(|n| n.vni != 0));
    let virtual_ips = service.endpoint.as_ref().map_or(&[][..], |e| &e.virtual_ips);
    let mut networks: BTreeSet<String> =
        asked.chain(virtual_ips.iter().map(|v| &v.network_id)).cloned().collect();
    let ports = service.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
    if ports.iter().any(|p| p.mode() == PublishMode::Ingress) {
        networks.extend(ingress(view).map(|n| n.id.clone()));
    }
    networks
}

pub(super) fn ingress(view: &View) -> Option<&Network> {
    view.all::<Network>().find(|n| n.is_ingress())
}

fn is_ingress(view: &View, network_id: &str) -> bool {
    view.get::<Network>(network_id).is_some_and(Network::is_ingress)
}
