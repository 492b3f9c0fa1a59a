//! Puts waiting tasks on nodes: the scheduler chooses, the allocator gives addresses, and whoever has to wait is told why.

use std::collections::BTreeMap;

use swarm_api::{Service, Task, TaskState};
use swarm_scheduler::{Candidate, ClusterView, Group, Outcome, place};

use super::allocate::{Pools, allocate_service, attach_task};
use super::draft::Draft;
use super::slot::is_wanted;

/// Waiting tasks of one service and spec, in the order in which they are served.
type Waiting = BTreeMap<(String, u64), Vec<Task>>;

/// Places what waits of these services. Returns the services of which something still waits.
pub(super) fn place_waiting(
    draft: &mut Draft<'_>,
    pools: &mut Option<Pools>,
    services: impl Iterator<Item = String>,
) -> std::collections::BTreeSet<String> {
    let mut waiting = Waiting::new();
    let services: Vec<String> = services.collect();
    for service_id in &services {
        let allocated = allocate_service(draft, pools, service_id);
        for task in waiting_of(draft, service_id) {
            match &allocated {
                Ok(()) => {
                    let group = (service_id.clone(), task.spec_version);
                    waiting.entry(group).or_default().push(task);
                }
                Err(why) => draft.observe(&task.id, TaskState::Pending, why),
            }
        }
    }
    if !waiting.is_empty() {
        assign(draft, pools, &waiting);
    }
    // Also those that wait as before, of which nothing is written.
    let still = |id: &String| draft.tasks_of_service(id).any(is_waiting);
    services.into_iter().filter(still).collect()
}

pub(super) fn is_waiting(task: &Task) -> bool {
    is_wanted(task) && task.state() < TaskState::Assigned
}

fn waiting_of(draft: &Draft<'_>, service_id: &str) -> Vec<Task> {
    let waiting = draft.tasks_of_service(service_id).filter(|t| is_waiting(t));
    let mut tasks: Vec<Task> = waiting.cloned().collect();
    tasks.sort_by(|a, b| (a.slot, &a.id).cmp(&(b.slot, &b.id)));
    tasks
}

fn assign(draft: &mut Draft<'_>, pools: &mut Option<Pools>, waiting: &Waiting) {
    let mut cluster = cluster_of(draft);
    let owners: BTreeMap<&str, Service> = waiting
        .keys()
        .filter_map(|(id, _)| Some((id.as_str(), draft.service(id)?.clone())))
        .collect();
    let groups: Vec<Group<'_>> = waiting
        .iter()
        .filter_map(|((service_id, spec_version), tasks)| {
            let endpoint = owners.get(service_id.as_str())?.endpoint.as_ref();
            Some(Group {
                service_id,
                spec_version: *spec_version,
                spec: tasks.first()?.spec.as_ref()?,
                ports: endpoint.map_or(&[][..], |e| &e.ports),
                tasks: tasks.iter().map(candidate).collect(),
            })
        })
        .collect();
    for decision in place(&mut cluster, &groups, draft.now) {
        let Some(task) = draft.task(&decision.task_id).cloned() else { continue };
        let Some(service) = owners.get(task.service_id.as_str()) else { continue };
        let failed = match decision.outcome {
            Outcome::Nowhere(why) => Err(why),
            Outcome::Node(node_id) => settle_on(draft, pools, service, &task, &node_id)
                .inspect_err(|_| cluster.remove_task(&node_id, &task.id)),
        };
        if let Err(why) = failed {
            draft.observe(&task.id, TaskState::Pending, &why);
        }
    }
}

fn candidate(task: &Task) -> Candidate<'_> {
    let node_id = Some(task.node_id.as_str()).filter(|id| !id.is_empty());
    Candidate { task_id: &task.id, node_id }
}

fn settle_on(
    draft: &mut Draft<'_>,
    pools: &mut Option<Pools>,
    service: &Service,
    task: &Task,
    node_id: &str,
) -> Result<(), String> {
    let pools = pools.get_or_insert_with(|| Pools::of(draft));
    let networks = attach_task(draft, pools, service, task, node_id)?;
    let message = match task.node_id.is_empty() {
        true => "scheduler assigned task to node",
        false => "scheduler confirmed task can run on preassigned node",
    };
    draft.edit_task(&task.id, |t| {
        node_id.clone_into(&mut t.node_id);
        t.networks = networks;
        t.endpoint.clone_from(&service.endpoint);
    });
    draft.observe(&task.id, TaskState::Assigned, message);
    Ok(())
}

/// The scheduler's picture of the draft.
fn cluster_of(draft: &Draft<'_>) -> ClusterView {
    let mut cluster = ClusterView::default();
    draft.all_nodes().for_each(|node| cluster.put_node(node.clone()));
    draft.all_tasks().for_each(|task| cluster.put_task(task));
    cluster
}
