//! The filters: what keeps a task off a node, in the order in which they are asked, and how they explain themselves.
//! Called by `place`; they look at one node at a time and change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarm_api::constraint::Constraint;
use swarm_api::{Platform, TaskSpec};

use crate::cluster::{ClusterView, NodeInfo};
use crate::demand::Demand;

/// Why a node does not take a task. The order is that of the checks; the first that applies is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    NotAvailable,
    Resources,
    Constraints,
    Platform,
    HostPort,
    MaxReplicas,
}

/// What the tasks of one group need of a node.
pub(crate) struct Needs {
    pub(crate) demand: Arc<Demand>,
    /// `None`: one of them cannot be read, so no node can meet it (the door refuses such specs).
    constraints: Option<Vec<Constraint>>,
    platforms: Vec<(String, String)>,
    max_replicas: u64,
}

impl Needs {
    pub(crate) fn new(demand: Demand, spec: &TaskSpec) -> Needs {
        let placement = spec.placement.as_ref();
        let texts = placement.map_or(&[][..], |p| &p.constraints);
        Needs {
            demand: Arc::new(demand),
            constraints: texts.iter().map(|text| Constraint::parse(text).ok()).collect(),
            platforms: placement.map_or(&[][..], |p| &p.platforms).iter().map(normal).collect(),
            max_replicas: placement.map_or(0, |p| p.max_replicas),
        }
    }

    /// The first thing that keeps the tasks off this node.
    pub(crate) fn obstacle(&self, info: &NodeInfo) -> Option<Obstacle> {
        if !info.is_available() {
            return Some(Obstacle::NotAvailable);
        }
        if !info.has_room(&self.demand) {
            return Some(Obstacle::Resources);
        }
        let meets = |all: &Vec<Constraint>| all.iter().all(|c| c.matches(&info.node));
        if !self.constraints.as_ref().is_some_and(meets) {
            return Some(Obstacle::Constraints);
        }
        if !self.runs_on(info) {
            return Some(Obstacle::Platform);
        }
        if !info.has_ports(&self.demand) {
            return Some(Obstacle::HostPort);
        }
        let here = info.active_of(&self.demand.service_id) as u64;
        (self.max_replicas > 0 && here >= self.max_replicas).then_some(Obstacle::MaxReplicas)
    }

    fn runs_on(&self, info: &NodeInfo) -> bool {
        if self.platforms.is_empty() {
            return true;
        }
        let platform = info.node.description.as_ref().and_then(|d| d.platform.as_ref());
        let Some((os, arch)) = platform.map(normal) else { return false };
        let fits = |want: &str, has: &str| want.is_empty() || want == has;
        self.platforms.iter().any(|(o, a)| fits(o, &os) && fits(a, &arch))
    }

    /// Why no node takes the tasks: the filters that refused, by the number of nodes they refused.
    pub(crate) fn explain(&self, cluster: &ClusterView) -> String {
        explanation(cluster.nodes.values().filter_map(|info| self.obstacle(info)))
    }
}

/// `no suitable node (…)` from what keeps each node out.
pub(crate) fn explanation(obstacles: impl Iterator<Item = Obstacle>) -> String {
    let mut counts: BTreeMap<Obstacle, usize> = BTreeMap::new();
    for obstacle in obstacles {
        *counts.entry(obstacle).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    // Stable: equal counts stay in the order of the checks.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if counts.is_empty() {
        return "no suitable node".to_owned();
    }
    let parts: Vec<String> = counts.into_iter().map(|(what, count)| what.words(count)).collect();
    format!("no suitable node ({})", parts.join("; "))
}

impl Obstacle {
    fn words(self, count: usize) -> String {
        let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        match self {
            Obstacle::NotAvailable => format!("{nodes} not available for new tasks"),
            Obstacle::Resources => format!("insufficient resources on {nodes}"),
            Obstacle::Constraints => format!("scheduling constraints not satisfied on {nodes}"),
            Obstacle::Platform => format!("unsupported platform on {nodes}"),
            Obstacle::HostPort => format!("host-mode port already in use on {nodes}"),
            Obstacle::MaxReplicas => format!("max replicas per node limit exceed on {nodes}"),
        }
    }
}

/// Operating system and architecture under their usual names.
fn normal(platform: &Platform) -> (String, String) {
    let arch = match platform.architecture.to_lowercase().as_str() {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    (platform.os.to_lowercase(), arch)
}
