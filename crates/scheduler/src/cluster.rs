//! The nodes as the scheduler sees them: what is free, what runs where, what failed there lately.
//!
//! Usable incrementally: nodes and tasks are put and taken one by one, in any order, and repeating a call changes
//! nothing. The caller keeps it in step with the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use swarm_api::{Node, NodeAvailability, Task, TaskState};

use crate::demand::{Demand, generic_counts};

/// Failures older than this say nothing about a node any more.
const FAILURE_MEMORY_NS: i64 = 5 * 60 * 1_000_000_000;
/// Failures of one spec on one node from which the node is avoided.
const FAILURES_AVOIDED: usize = 5;
/// Failure times kept per node and spec; more would change no decision.
const FAILURES_KEPT: usize = 64;

/// All nodes with what they hold.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    pub(crate) nodes: BTreeMap<String, NodeInfo>,
}

/// One node with what it holds.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub(crate) node: Node,
    held: HashMap<String, Held>,
    active_of_service: HashMap<String, usize>,
    active: usize,
    taken_cpus: i64,
    taken_memory: i64,
    taken_generic: BTreeMap<String, i64>,
    host_ports: HashMap<(i32, u32), usize>,
    failures: HashMap<(String, u64), BTreeMap<String, i64>>,
}

#[derive(Clone, Debug)]
struct Held {
    demand: Arc<Demand>,
    /// Counts for spreading: it is meant to go on running.
    active: bool,
}

impl ClusterView {
    /// Puts a node, or replaces what is known of it; its tasks stay.
    pub fn put_node(&mut self, node: Node) {
        let info = self.nodes.entry(node.id.clone()).or_default();
        info.node = node;
    }

    /// Forgets a node and what it held.
    pub fn remove_node(&mut self, node_id: &str) {
        self.nodes.remove(node_id);
    }

    /// Takes note of a task's present state: held while assigned and not ended, and remembered as a failure if it
    /// failed. A task of an unknown node is ignored.
    pub fn put_task(&mut self, task: &Task) {
        let Some(info) = self.nodes.get_mut(&task.node_id) else { return };
        info.release(&task.id);
        let state = task.state();
        if (TaskState::Assigned..=TaskState::Running).contains(&state) {
            let active = task.desired_state() <= TaskState::Complete;
            info.hold(task.id.clone(), Held { demand: Arc::new(Demand::of(task)), active });
        }
        if matches!(state, TaskState::Failed | TaskState::Rejected) {
            info.remember_failure(task);
        }
    }

    /// Frees what a task held.
    pub fn remove_task(&mut self, node_id: &str, task_id: &str) {
        if let Some(info) = self.nodes.get_mut(node_id) {
            info.release(task_id);
        }
    }

    /// One node.
    pub fn node(&self, node_id: &str) -> Option<&NodeInfo> {
        self.nodes.get(node_id)
    }
}

impl NodeInfo {
    /// Tasks of the service that are meant to go on running here.
    pub fn active_of(&self, service_id: &str) -> usize {
        self.active_of_service.get(service_id).copied().unwrap_or(0)
    }

    /// All tasks that are meant to go on running here.
    pub fn active(&self) -> usize {
        self.active
    }

    pub(crate) fn is_available(&self) -> bool {
        let active = self.node.spec.as_ref().map_or(NodeAvailability::Active, |s| s.availability())
            == NodeAvailability::Active;
        active && self.node.is_ready()
    }

    pub(crate) fn has_room(&self, demand: &Demand) -> bool {
        let asks = demand.nano_cpus > 0 || demand.memory_bytes > 0 || !demand.generic.is_empty();
        if !asks {
            return true;
        }
        let total = self.node.description.as_ref().and_then(|d| d.resources.as_ref());
        let (cpus, memory) = total.map_or((0, 0), |r| (r.nano_cpus, r.memory_bytes));
        let generic = total.map(generic_counts).unwrap_or_default();
        let free = |kind: &str| {
            let has: i64 = generic.iter().filter(|(k, _)| k == kind).map(|(_, n)| n).sum();
            has - self.taken_generic.get(kind).copied().unwrap_or(0)
        };
        (demand.nano_cpus <= 0 || demand.nano_cpus <= cpus - self.taken_cpus)
            && (demand.memory_bytes <= 0 || demand.memory_bytes <= memory - self.taken_memory)
            && demand.generic.iter().all(|(kind, count)| *count <= free(kind))
    }

    pub(crate) fn has_ports(&self, demand: &Demand) -> bool {
        demand.host_ports.iter().all(|port| !self.host_ports.contains_key(port))
    }

    /// Recent failures of this spec here, if there are enough of them to avoid the node; otherwise 0.
    pub(crate) fn faults(&self, service_id: &str, spec_version: u64, now_ns: i64) -> usize {
        if self.failures.is_empty() {
            return 0;
        }
        let key = (service_id.to_owned(), spec_version);
        let recent = |at: &&i64| now_ns.saturating_sub(**at) <= FAILURE_MEMORY_NS;
        let count = self.failures.get(&key).map_or(0, |f| f.values().filter(recent).count());
        if count >= FAILURES_AVOIDED { count } else { 0 }
    }

    /// Takes what a newly placed task needs.
    pub(crate) fn take(&mut self, task_id: &str, demand: &Arc<Demand>) {
        self.release(task_id);
        self.hold(task_id.to_owned(), Held { demand: Arc::clone(demand), active: true });
    }

    fn hold(&mut self, task_id: String, held: Held) {
        self.count(&held, 1);
        self.held.insert(task_id, held);
    }

    fn release(&mut self, task_id: &str) {
        if let Some(held) = self.held.remove(task_id) {
            self.count(&held, -1);
        }
    }

    fn count(&mut self, held: &Held, sign: i64) {
        let demand = &held.demand;
        self.taken_cpus += sign * demand.nano_cpus;
        self.taken_memory += sign * demand.memory_bytes;
        for (kind, count) in &demand.generic {
            *self.taken_generic.entry(kind.clone()).or_default() += sign * count;
        }
        for port in &demand.host_ports {
            tally(&mut self.host_ports, *port, sign);
        }
        if held.active {
            tally(&mut self.active_of_service, demand.service_id.clone(), sign);
            self.active = self.active.saturating_add_signed(sign as isize);
        }
    }

    fn remember_failure(&mut self, task: &Task) {
        let at = task.status.as_ref().and_then(|s| s.timestamp.as_ref());
        let at = at.map_or(0, swarm_api::time::to_nanos);
        let times = self.failures.entry((task.service_id.clone(), task.spec_version)).or_default();
        times.insert(task.id.clone(), at);
        if times.len() > FAILURES_KEPT
            && let Some(oldest) = times.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone())
        {
            times.remove(&oldest);
        }
    }
}

/// Adds one to a counter or takes one away; a counter at zero is forgotten.
fn tally<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: K, sign: i64) {
    let count = counts.entry(key);
    match count {
        std::collections::hash_map::Entry::Occupied(mut entry) => {
            let value = entry.get().saturating_add_signed(sign as isize);
            if value == 0 {
                entry.remove();
            } else {
                *entry.get_mut() = value;
            }
        }
        std::collections::hash_map::Entry::Vacant(entry) if sign > 0 => {
            entry.insert(1);
        }
        std::collections::hash_map::Entry::Vacant(_) => {}
    }
}
