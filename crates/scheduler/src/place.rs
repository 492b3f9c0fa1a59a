//! Placement of groups of like tasks. Tasks that already have their node (global services) are only checked against it.

use swarm_api::{PlacementPreference, PortConfig, TaskSpec};

use crate::cluster::ClusterView;
use crate::demand::Demand;
use crate::filter::{Needs, explanation};
use crate::spread::{Branch, Rank, values};

/// Tasks of one service with one spec.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Service of the tasks.
    pub service_id: &'a str,
    /// Their spec's version; failures are counted per version.
    pub spec_version: u64,
    /// Their spec.
    pub spec: &'a TaskSpec,
    /// Ports of the service as allocated; the host-mode ones count.
    pub ports: &'a [PortConfig],
    /// The tasks, in the order in which they are served.
    pub tasks: Vec<Candidate<'a>>,
}

/// One task that wants a node.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub task_id: &'a str,
    /// The only node it may go to, if that is settled.
    pub node_id: Option<&'a str>,
}

/// What was decided for one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The task.
    pub task_id: String,
    /// Its node, or why there is none.
    pub outcome: Outcome,
}

/// Where a task goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To this node, which already holds it in the cluster view.
    Node(String),
    /// Nowhere now; in words, why.
    Nowhere(String),
}

/// Decides on every task of `groups`, tasks with a settled node first, and takes what they need in `cluster`.
/// `now_ns` dates the failures that make a node avoided.
pub fn place(cluster: &mut ClusterView, groups: &[Group<'_>], now_ns: i64) -> Vec<Decision> {
    let needs: Vec<Needs> = groups.iter().map(needs_of).collect();
    let mut decisions = Vec::with_capacity(groups.iter().map(|g| g.tasks.len()).sum());
    for (group, needs) in groups.iter().zip(&needs) {
        for task in &group.tasks {
            if let Some(node_id) = task.node_id {
                decisions.push(confirm(cluster, needs, task.task_id, node_id));
            }
        }
    }
    for (group, needs) in groups.iter().zip(&needs) {
        spread_group(cluster, group, needs, now_ns, &mut decisions);
    }
    decisions
}

fn needs_of(group: &Group<'_>) -> Needs {
    Needs::new(Demand::new(group.service_id, group.spec, group.ports), group.spec)
}

fn confirm(cluster: &mut ClusterView, needs: &Needs, task_id: &str, node_id: &str) -> Decision {
    let outcome = match cluster.nodes.get_mut(node_id) {
        None => Outcome::Nowhere("no suitable node (its node is gone)".to_owned()),
        Some(info) => match needs.obstacle(info) {
            Some(obstacle) => Outcome::Nowhere(explanation(std::iter::once(obstacle))),
            None => {
                info.take(task_id, &needs.demand);
                Outcome::Node(node_id.to_owned())
            }
        },
    };
    Decision { task_id: task_id.to_owned(), outcome }
}

fn spread_group(
    cluster: &mut ClusterView,
    group: &Group<'_>,
    needs: &Needs,
    now_ns: i64,
    decisions: &mut Vec<Decision>,
) {
    let mut free = group.tasks.iter().filter(|t| t.node_id.is_none()).peekable();
    if free.peek().is_none() {
        return;
    }
    let mut tree = tree_of(cluster, group, needs, now_ns);
    let mut infos: Vec<_> = cluster.nodes.iter_mut().collect();
    let mut left_over = Vec::new();
    for task in free {
        let chosen = tree.assign(&mut |index| {
            let info = &mut *infos[index].1;
            info.take(task.task_id, &needs.demand);
            let rank = Rank {
                faults: info.faults(group.service_id, group.spec_version, now_ns),
                of_service: info.active_of(group.service_id),
                total: info.active(),
                index,
            };
            needs.obstacle(info).is_none().then_some(rank)
        });
        match chosen {
            Some(index) => decisions.push(Decision {
                task_id: task.task_id.to_owned(),
                outcome: Outcome::Node(infos[index].0.clone()),
            }),
            None => left_over.push(task.task_id),
        }
    }
    if left_over.is_empty() {
        return;
    }
    let why = needs.explain(cluster);
    decisions.extend(left_over.into_iter().map(|task_id| Decision {
        task_id: task_id.to_owned(),
        outcome: Outcome::Nowhere(why.clone()),
    }));
}

fn tree_of(cluster: &ClusterView, group: &Group<'_>, needs: &Needs, now_ns: i64) -> Branch {
    let none: &[PlacementPreference] = &[];
    let preferences = group.spec.placement.as_ref().map_or(none, |p| &p.preferences);
    let mut tree = Branch::default();
    for (index, info) in cluster.nodes.values().enumerate() {
        let of_service = info.active_of(group.service_id);
        let rank = needs.obstacle(info).is_none().then(|| Rank {
            faults: info.faults(group.service_id, group.spec_version, now_ns),
            of_service,
            total: info.active(),
            index,
        });
        tree.add(&values(&info.node, preferences), of_service, rank);
    }
    tree
}

#[cfg(test)]
mod tests;
