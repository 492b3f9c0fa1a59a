//! The enforcer: tasks on a node that does not suit them any more (its labels, role or resources changed) are taken
//! from it. Restarts then replace them elsewhere. Host ports and platforms do not change under a running task.

use std::collections::BTreeSet;

use swarm_api::{Node, NodeAvailability, Resources, Task, TaskState};

use super::clean::{is_clean, meets};
use super::draft::Draft;
use super::slot::{EVICTED, availability, is_wanted, template};

/// Rejects the tasks of the node that may not be there, and notes their services.
pub(super) fn enforce(draft: &mut Draft<'_>, node_id: &str, services: &mut BTreeSet<String>) {
    let Some(node) = draft.node(node_id) else { return };
    if !node.is_ready() || availability(node) != NodeAvailability::Active {
        return;
    }
    let live = draft.tasks_of_node(node_id).filter(|t| !t.is_terminal() && is_wanted(t));
    let mut live: Vec<&Task> = live.collect();
    live.sort_by_key(|t| (draft.made_at(t), &t.id));
    let mut room = Room::of(node);
    let evicted: Vec<(String, String)> = live
        .into_iter()
        .filter(|t| !suits(draft, node, t) || !room.take(t))
        .map(|t| (t.id.clone(), t.service_id.clone()))
        .collect();
    for (task_id, service_id) in evicted {
        draft.observe(&task_id, TaskState::Rejected, EVICTED);
        services.insert(service_id);
    }
}

/// By the service's constraints if the task is up to date, by its own otherwise: an update that changes constraints
/// moves tasks at its own pace.
fn suits(draft: &Draft<'_>, node: &Node, task: &Task) -> bool {
    let service = draft.service(&task.service_id).filter(|s| is_clean(draft, s, task));
    let spec = service.and_then(template).or(task.spec.as_ref());
    spec.is_none_or(|spec| meets(node, spec))
}

/// What a node can reserve; older tasks come first.
struct Room {
    nano_cpus: i64,
    memory_bytes: i64,
    is_known: bool,
}

impl Room {
    fn of(node: &Node) -> Room {
        let resources = node.description.as_ref().and_then(|d| d.resources.as_ref());
        Room {
            nano_cpus: resources.map_or(0, |r| r.nano_cpus),
            memory_bytes: resources.map_or(0, |r| r.memory_bytes),
            is_known: resources.is_some(),
        }
    }

    fn take(&mut self, task: &Task) -> bool {
        let requirements = task.spec.as_ref().and_then(|s| s.resources.as_ref());
        let none = Resources::default();
        let asks = requirements.and_then(|r| r.reservations.as_ref()).unwrap_or(&none);
        let fits = |asked: i64, free: i64| asked <= 0 || asked <= free;
        if !self.is_known {
            return true;
        }
        if !fits(asks.nano_cpus, self.nano_cpus) || !fits(asks.memory_bytes, self.memory_bytes) {
            return false;
        }
        self.nano_cpus -= asks.nano_cpus.max(0);
        self.memory_bytes -= asks.memory_bytes.max(0);
        true
    }
}
