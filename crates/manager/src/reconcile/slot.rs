//! The tasks of a service by slot, and what can be said of a task at a glance. Used by every step of the pass.

use std::collections::BTreeMap;

use swarm_api::time::to_nanos;
use swarm_api::{
    Network, Node, NodeAvailability, PublishMode, Service, Task, TaskSpec, TaskState, UpdateConfig,
    UpdateOrder, service_spec,
};

use super::draft::Draft;

/// A place for one live task: a number (replicated) or a node (global).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) number: u64,
    pub(super) node_id: String,
}

impl Slot {
    pub(super) fn of(task: &Task) -> Slot {
        let node_id = if task.slot == 0 { task.node_id.clone() } else { String::new() };
        Slot { number: task.slot, node_id }
    }
}

/// The service's tasks by slot, oldest first.
pub(super) fn slots<'d>(draft: &'d Draft<'_>, service_id: &str) -> BTreeMap<Slot, Vec<&'d Task>> {
    let mut slots: BTreeMap<Slot, Vec<&Task>> = BTreeMap::new();
    // Tasks that are to be removed belong to no slot any more, but a new task must wait for them.
    for task in draft.tasks_of_service(service_id) {
        slots.entry(Slot::of(task)).or_default().push(task);
    }
    for tasks in slots.values_mut() {
        tasks.sort_by_key(|t| (draft.made_at(t), t.id.clone()));
    }
    slots
}

/// Meant to run.
pub(super) fn is_wanted(task: &Task) -> bool {
    task.desired_state() < TaskState::Shutdown
}

/// Message of a task that was taken from a node which does not suit it any more.
pub(super) const EVICTED: &str = "assigned node no longer meets constraints";

/// Ended without having been told to.
pub(super) fn died_by_itself(task: &Task) -> bool {
    let evicted = || task.status.as_ref().is_some_and(|s| s.message == EVICTED);
    matches!(task.state(), TaskState::Complete | TaskState::Failed | TaskState::Rejected)
        && !evicted()
}

/// Handed to a node, and not reported as ended.
pub(super) fn is_on_node(task: &Task) -> bool {
    (TaskState::Assigned..=TaskState::Running).contains(&task.state())
}

/// Time of the present status, nanoseconds.
pub(super) fn status_at(task: &Task) -> i64 {
    let timestamp = task.status.as_ref().and_then(|s| s.timestamp.as_ref());
    timestamp.map_or(0, to_nanos)
}

pub(super) fn availability(node: &Node) -> NodeAvailability {
    node.spec.as_ref().map_or(NodeAvailability::Active, |s| s.availability())
}

/// What becomes of the task's node: nothing, if the task has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    Firm,
    Draining,
    Down,
    Gone,
}

pub(super) fn footing(draft: &Draft<'_>, task: &Task) -> Footing {
    if task.node_id.is_empty() {
        return Footing::Firm;
    }
    match draft.node(&task.node_id) {
        None => Footing::Gone,
        Some(node) if node.is_down() => Footing::Down,
        Some(node) if availability(node) == NodeAvailability::Drain => Footing::Draining,
        Some(_) => Footing::Firm,
    }
}

/// May still run somewhere: on a node, not reported as ended, and its node can be heard.
pub(super) fn may_run(draft: &Draft<'_>, task: &Task) -> bool {
    is_on_node(task) && !matches!(footing(draft, task), Footing::Down | Footing::Gone)
}

pub(super) fn is_global(service: &Service) -> bool {
    let mode = service.spec.as_ref().and_then(|s| s.mode.as_ref());
    matches!(mode, Some(service_spec::Mode::Global(_)))
}

/// Replicas wanted; one where no mode is given.
pub(super) fn replicas(service: &Service) -> u64 {
    match service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        Some(service_spec::Mode::Replicated(mode)) => mode.replicas,
        _ => 1,
    }
}

pub(super) fn template(service: &Service) -> Option<&TaskSpec> {
    service.spec.as_ref()?.task.as_ref()
}

/// Whether the service publishes a port on every node.
pub(super) fn has_ingress_ports(service: &Service) -> bool {
    let endpoint = service.spec.as_ref().and_then(|s| s.endpoint.as_ref());
    endpoint.is_some_and(|e| e.ports.iter().any(|p| p.mode() == PublishMode::Ingress))
}

fn has_host_ports(service: &Service) -> bool {
    let endpoint = service.spec.as_ref().and_then(|s| s.endpoint.as_ref());
    let fixed = |p: &swarm_api::PortConfig| p.mode() == PublishMode::Host && p.published != 0;
    endpoint.is_some_and(|e| e.ports.iter().any(fixed))
}

/// The order in which a task is replaced. A fixed host-mode port can be held by one task at a time, so such a service
/// stops first whatever it asks for.
pub(super) fn order(service: &Service, config: Option<&UpdateConfig>) -> UpdateOrder {
    let asked = config.map_or(UpdateOrder::StopFirst, |c| c.order());
    if has_host_ports(service) { UpdateOrder::StopFirst } else { asked }
}

pub(super) fn ingress<'d>(draft: &'d Draft<'_>) -> Option<&'d Network> {
    draft.all_networks().find(|n| n.is_ingress())
}
