//! Which node tasks go to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use swarm_api::{
    GenericResource, Node, NodeState, Placement, PlacementPreference, Platform, Resources, Task,
    TaskSpec, TaskState, resource,
};
use swarm_scheduler::{Candidate, ClusterView, Group, Outcome, place};

use crate::case::{Answer, Case};

/// Any moment will do: no task of a case has failed.
const NOW: i64 = 1_000_000_000;

pub fn answer(case: &Case) -> Answer {
    match case.op.as_str() {
        "generic.fits" => fits(case).unwrap_or(Answer::Unknown),
        "schedule" => match Cluster::deserialize(&case.input) {
            Ok(cluster) => Answer::Is(cluster.placed()),
            Err(_) => Answer::Unknown,
        },
        _ => Answer::Unknown,
    }
}

fn fits(case: &Case) -> Option<Answer> {
    let side = |key: &str| case.input.get(key).and_then(Value::as_object).map(generic);
    let fits = resource::fits(&side("reserve")?, &side("node")?);
    Some(Answer::Is(json!(fits)))
}

/// `{"gpu": 2}` or `{"gpu": ["g0", "g1"]}`
fn generic(kinds: &Map<String, Value>) -> Vec<GenericResource> {
    let one = |(kind, amount): (&String, &Value)| {
        let names = amount.as_array().into_iter().flatten();
        GenericResource {
            kind: kind.clone(),
            count: amount.as_i64().unwrap_or(0),
            names: names.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    };
    kinds.iter().map(one).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    nodes: Nodes,
    /// Service, node, count.
    #[serde(default)]
    running: BTreeMap<String, BTreeMap<String, usize>>,
    /// Of each task that runs.
    #[serde(default)]
    reserve_memory: i64,
    place: Vec<Wanted>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Nodes {
    Names(Vec<String>),
    Described(BTreeMap<String, Map<String, Value>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: String,
    replicas: usize,
    #[serde(default)]
    spread: Vec<String>,
    #[serde(default)]
    reserve_memory: i64,
    #[serde(default)]
    reserve_cpus: f64,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    constraints: Vec<String>,
    #[serde(default)]
    max_replicas: u64,
}

impl Cluster {
    /// Tasks per node: of each service (`s1`), those new (`s1_added`), the node of a single one (`on`), and how many have
    /// none (`pending`).
    fn placed(&self) -> Value {
        let mut cluster = self.view();
        let mut result = Map::new();
        let mut pending = 0;
        for wanted in &self.place {
            let mut added: BTreeMap<String, usize> = BTreeMap::new();
            for outcome in wanted.place(&mut cluster) {
                match outcome {
                    Outcome::Node(node) => *added.entry(node).or_default() += 1,
                    Outcome::Nowhere(_) => pending += 1,
                }
            }
            let mut all = self.running.get(&wanted.service).cloned().unwrap_or_default();
            all.retain(|_, count| *count > 0);
            added.iter().for_each(|(node, count)| *all.entry(node.clone()).or_default() += count);
            if let (1, Some(node)) = (added.len(), added.keys().next()) {
                result.insert("on".into(), json!(node));
            }
            result.insert(wanted.service.clone(), json!(all));
            result.insert(format!("{}_added", wanted.service), json!(added));
        }
        result.insert("pending".into(), json!(pending));
        Value::Object(result)
    }

    fn view(&self) -> ClusterView {
        let mut view = ClusterView::default();
        match &self.nodes {
            Nodes::Names(names) => {
                names.iter().for_each(|name| view.put_node(node(name, &Map::new())));
            }
            Nodes::Described(nodes) => {
                nodes.iter().for_each(|(name, said)| view.put_node(node(name, said)));
            }
        }
        let spec = reserving(self.reserve_memory, 0);
        for (service, nodes) in &self.running {
            for (node, count) in nodes {
                for n in 0..*count {
                    view.put_task(&running(service, node, n, &spec));
                }
            }
        }
        view
    }
}

impl Wanted {
    fn place(&self, cluster: &mut ClusterView) -> Vec<Outcome> {
        let mut spec = reserving(self.reserve_memory, (self.reserve_cpus * 1e9) as i64);
        let preference = |spread: &String| PlacementPreference { spread: spread.clone() };
        spec.placement = Some(Placement {
            preferences: self.spread.iter().map(preference).collect(),
            platforms: self.platforms.iter().map(|text| platform(text)).collect(),
            constraints: self.constraints.clone(),
            max_replicas: self.max_replicas,
        });
        let ids: Vec<String> =
            (0..self.replicas).map(|n| format!("new-{}-{n:04}", self.service)).collect();
        let tasks = ids.iter().map(|id| Candidate { task_id: id, node_id: None }).collect();
        let group =
            Group { service_id: &self.service, spec_version: 1, spec: &spec, ports: &[], tasks };
        place(cluster, &[group], NOW).into_iter().map(|decision| decision.outcome).collect()
    }
}

fn reserving(memory_bytes: i64, nano_cpus: i64) -> TaskSpec {
    let mut spec = TaskSpec::default();
    let reserved = Resources { memory_bytes, nano_cpus, ..Resources::default() };
    spec.resources.get_or_insert_default().reservations = Some(reserved);
    spec
}

/// A node that is ready. What it does not say it has plenty of; keys that are no property are its labels.
fn node(name: &str, said: &Map<String, Value>) -> Node {
    let mut node = Node { id: name.to_owned(), ..Node::default() };
    node.status.get_or_insert_default().set_state(NodeState::NodeReady);
    let labels = &mut node.spec.get_or_insert_default().annotations.get_or_insert_default().labels;
    let description = node.description.get_or_insert_default();
    name.clone_into(&mut description.hostname);
    let resources = description.resources.get_or_insert_default();
    (resources.memory_bytes, resources.nano_cpus) = (i64::MAX / 2, i64::MAX / 2);
    for (key, value) in said {
        match (key.as_str(), value) {
            ("memory", Value::Number(bytes)) => {
                resources.memory_bytes = bytes.as_i64().unwrap_or(0);
            }
            ("cpus", Value::Number(cpus)) => {
                resources.nano_cpus = (cpus.as_f64().unwrap_or(0.0) * 1e9) as i64;
            }
            ("generic", Value::Object(kinds)) => resources.generic = generic(kinds),
            ("platform", Value::String(text)) => description.platform = Some(platform(text)),
            (label, Value::String(text)) => {
                labels.insert(label.to_owned(), text.clone());
            }
            _ => {}
        }
    }
    node
}

/// `linux/amd64`
fn platform(text: &str) -> Platform {
    let (os, architecture) = text.split_once('/').unwrap_or((text, ""));
    Platform { os: os.to_owned(), architecture: architecture.to_owned() }
}

fn running(service: &str, node: &str, number: usize, spec: &TaskSpec) -> Task {
    let mut task = Task {
        id: format!("{service}-{node}-{number:04}"),
        service_id: service.to_owned(),
        node_id: node.to_owned(),
        spec: Some(spec.clone()),
        spec_version: 1,
        ..Task::default()
    };
    task.set_desired_state(TaskState::Running);
    task.status.get_or_insert_default().set_state(TaskState::Running);
    task
}
