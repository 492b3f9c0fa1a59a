//! How many tasks a service has, and in which slots. Restarts and updates change what is in a slot; this step changes which
//! slots there are. Also lets go of the tasks of a removed service.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::{Node, NodeAvailability, Service, Task, TaskState};

use super::birth::{make, must_wait};
use super::clean::meets;
use super::draft::Draft;
use super::restart::should_restart;
use super::slot::{Slot, availability, is_global, is_wanted, replicas, slots, template};

/// Makes the service's slots as many as its mode asks for.
pub(super) fn orchestrate(draft: &mut Draft<'_>, service: &Service) {
    if is_global(service) { global(draft, service) } else { replicated(draft, service) }
}

/// All tasks of a service that is gone are to be removed.
pub(super) fn abandon(draft: &mut Draft<'_>, service_id: &str) {
    let ids: Vec<String> = draft.tasks_of_service(service_id).map(|t| t.id.clone()).collect();
    for id in ids {
        draft.desire(&id, TaskState::Remove);
        let lost = |t: &Task| !t.node_id.is_empty() && draft.node(&t.node_id).is_none();
        if draft.task(&id).is_some_and(|t| !t.is_terminal() && lost(t)) {
            draft.observe(&id, TaskState::Orphaned, "its node was removed from the swarm");
        }
    }
}

/// Somebody lives there, or nobody shall: its last task ended for good, or was lost and is not to run a second time.
fn is_occupied(tasks: &[&Task]) -> bool {
    if tasks.iter().any(|t| is_wanted(t)) {
        return true;
    }
    let kept = |t: &&&Task| t.desired_state() == TaskState::Shutdown;
    let Some(last) = tasks.iter().rev().find(kept) else { return false };
    !should_restart(last, tasks)
}

fn replicated(draft: &mut Draft<'_>, service: &Service) {
    let want = usize::try_from(replicas(service)).unwrap_or(usize::MAX);
    let by_slot = slots(draft, &service.id);
    let occupied: BTreeMap<&Slot, &Vec<&Task>> =
        by_slot.iter().filter(|(_, tasks)| is_occupied(tasks)).collect();
    if occupied.len() > want {
        for id in surplus(&occupied, want) {
            draft.desire(&id, TaskState::Remove);
        }
        return;
    }
    let taken: BTreeSet<u64> = occupied.keys().map(|slot| slot.number).collect();
    let free = (1..).filter(|number| !taken.contains(number));
    let missing = free.take(want - occupied.len());
    let missing: Vec<(Slot, bool)> = missing
        .map(|number| waiting(draft, &by_slot, Slot { number, node_id: String::new() }))
        .collect();
    for (slot, waits) in missing {
        make(draft, service, &slot, waits);
    }
}

/// The slot, and whether a task made for it has to wait.
fn waiting(draft: &Draft<'_>, by_slot: &BTreeMap<Slot, Vec<&Task>>, slot: Slot) -> (Slot, bool) {
    let waits = by_slot.get(&slot).is_some_and(|tasks| must_wait(draft, tasks.iter().copied()));
    (slot, waits)
}

/// Tasks of the slots that are too many: those that have no node yet, then from the nodes with the most of them; there
/// the ones that do not run, then the highest numbers.
fn surplus(occupied: &BTreeMap<&Slot, &Vec<&Task>>, want: usize) -> Vec<String> {
    let mut ranked: Vec<(bool, u64, &str, &Vec<&Task>)> = occupied
        .iter()
        .map(|(slot, tasks)| {
            let live = tasks.iter().rev().find(|t| is_wanted(t));
            let idle = live.is_none_or(|t| t.state() != TaskState::Running);
            (idle, slot.number, live.map_or("", |t| t.node_id.as_str()), *tasks)
        })
        .collect();
    ranked.sort_by_key(|(idle, number, ..)| (*idle, *number));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_share: Vec<(usize, &Vec<&Task>)> = ranked
        .into_iter()
        .map(|(_, _, node_id, tasks)| {
            if node_id.is_empty() {
                return (usize::MAX, tasks);
            }
            let share = seen.entry(node_id).or_default();
            *share += 1;
            (*share, tasks)
        })
        .collect();
    // Stable: within equal shares, running ones and low numbers stay in front.
    by_share.sort_by_key(|(share, _)| *share);
    by_share.split_off(want).into_iter().flat_map(|(_, t)| t).map(|t| t.id.clone()).collect()
}

fn global(draft: &mut Draft<'_>, service: &Service) {
    let Some(spec) = template(service) else { return };
    let fits = |n: &&Node| meets(n, spec) && availability(n) != NodeAvailability::Drain;
    let fitting: BTreeMap<String, bool> = draft
        .all_nodes()
        .filter(fits)
        .map(|n| (n.id.clone(), n.is_ready() && availability(n) == NodeAvailability::Active))
        .collect();
    let by_slot = slots(draft, &service.id);
    let mut leave = Vec::new();
    for (slot, tasks) in &by_slot {
        let desired = match draft.node(&slot.node_id) {
            // Kept as it is: when it is heard of again, its task may still run.
            Some(node) if node.is_down() => continue,
            Some(_) if fitting.contains_key(&slot.node_id) => continue,
            Some(_) => TaskState::Shutdown,
            None => TaskState::Remove,
        };
        leave.extend(tasks.iter().map(|t| (t.id.clone(), desired)));
    }
    let vacant = |slot: &Slot| by_slot.get(slot).is_none_or(|tasks| !is_occupied(tasks));
    let open = fitting.iter().filter(|(_, takes_new)| **takes_new);
    let fill: Vec<(Slot, bool)> = open
        .map(|(id, _)| Slot { number: 0, node_id: id.clone() })
        .filter(vacant)
        .map(|slot| waiting(draft, &by_slot, slot))
        .collect();
    drop(by_slot);
    for (id, desired) in leave {
        draft.desire(&id, desired);
    }
    for (slot, waits) in fill {
        make(draft, service, &slot, waits);
    }
}
