use std::collections::BTreeMap;

use proptest::prelude::*;
use swarm_api::{
    Annotations, Endpoint, Node, NodeAvailability, NodeDescription, NodeSpec, NodeState,
    NodeStatus, Placement, Platform, PublishMode, ResourceRequirements, Resources, Task, TaskState,
    TaskStatus,
};

use super::*;

const SECOND: i64 = 1_000_000_000;

fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec::default()),
        description: Some(NodeDescription { hostname: id.into(), ..Default::default() }),
        status: Some(NodeStatus { state: NodeState::NodeReady.into(), ..Default::default() }),
        ..Node::default()
    }
}

fn labelled(id: &str, key: &str, value: &str) -> Node {
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let annotations = Some(Annotations { name: String::new(), labels });
    Node { spec: Some(NodeSpec { annotations, ..Default::default() }), ..node(id) }
}

fn with_memory(id: &str, memory_bytes: i64) -> Node {
    let mut node = node(id);
    node.description.as_mut().unwrap().resources =
        Some(Resources { memory_bytes, ..Default::default() });
    node
}

fn task(id: &str, service: &str, node: &str, state: TaskState) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        node_id: node.into(),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        desired_state: TaskState::Running.into(),
        spec: Some(TaskSpec::default()),
        ..Task::default()
    }
}

fn cluster(nodes: impl IntoIterator<Item = Node>) -> ClusterView {
    let mut cluster = ClusterView::default();
    nodes.into_iter().for_each(|n| cluster.put_node(n));
    cluster
}

fn reserving(memory_bytes: i64) -> TaskSpec {
    let reservations = Some(Resources { memory_bytes, ..Default::default() });
    let resources = Some(ResourceRequirements { reservations, ..Default::default() });
    TaskSpec { resources, ..Default::default() }
}

fn placed(placement: Placement) -> TaskSpec {
    TaskSpec { placement: Some(placement), ..Default::default() }
}

fn put(cluster: &mut ClusterView, spec: &TaskSpec, ports: &[PortConfig], n: usize) -> Vec<String> {
    let ids: Vec<String> = (0..n).map(|i| format!("new{i}")).collect();
    let tasks = ids.iter().map(|id| Candidate { task_id: id, node_id: None }).collect();
    let group = Group { service_id: "s1", spec_version: 1, spec, ports, tasks };
    let words = |d: Decision| match d.outcome {
        Outcome::Node(id) => id,
        Outcome::Nowhere(why) => why,
    };
    place(cluster, &[group], 10 * SECOND).into_iter().map(words).collect()
}

fn count(placed: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    placed.iter().for_each(|p| *counts.entry(p.as_str()).or_default() += 1);
    counts
}

fn run_on(cluster: &mut ClusterView, service: &str, node: &str, n: usize) {
    for i in 0..n {
        cluster.put_task(&task(&format!("{service}{node}{i}"), service, node, TaskState::Running));
    }
}

#[test]
fn tasks_of_the_service_count_first_and_all_tasks_only_break_ties() {
    let mut cluster = cluster([node("a"), node("b")]);
    run_on(&mut cluster, "s1", "b", 3);
    run_on(&mut cluster, "s2", "a", 5);
    let got = put(&mut cluster, &TaskSpec::default(), &[], 3);
    assert_eq!(count(&got), BTreeMap::from([("a", 3)]));
}

#[test]
fn equal_nodes_are_taken_in_the_order_of_their_ids() {
    let got = put(&mut cluster([node("b"), node("a")]), &TaskSpec::default(), &[], 3);
    assert_eq!(got, ["a", "b", "a"]);
}

#[test]
fn spread_levels_the_branches_before_the_nodes() {
    let zone = |id, z| labelled(id, "az", z);
    let nodes = [zone("a", "1"), zone("b", "2"), zone("c", "2"), zone("d", "2"), zone("e", "2")];
    let preferences = vec![PlacementPreference { spread: "node.labels.az".into() }];
    let spec = placed(Placement { preferences, ..Default::default() });
    let got = put(&mut cluster(nodes), &spec, &[], 8);
    assert_eq!(count(&got), BTreeMap::from([("a", 4), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]));
}

#[test]
fn a_full_branch_leaves_its_share_to_the_others() {
    let mut small = labelled("a", "az", "1");
    small.description.as_mut().unwrap().resources =
        Some(Resources { memory_bytes: 10, ..Default::default() });
    let mut large = labelled("b", "az", "2");
    large.description.as_mut().unwrap().resources =
        Some(Resources { memory_bytes: 100, ..Default::default() });
    let mut spec = reserving(10);
    let preferences = vec![PlacementPreference { spread: "node.labels.az".into() }];
    spec.placement = Some(Placement { preferences, ..Default::default() });
    let got = put(&mut cluster([small, large]), &spec, &[], 4);
    assert_eq!(count(&got), BTreeMap::from([("a", 1), ("b", 3)]));
}

#[test]
fn reservations_fill_a_node_and_the_rest_goes_elsewhere() {
    let mut cluster = cluster([with_memory("n1", 1_000), with_memory("n2", 100_000)]);
    for (id, on) in [("x1", "n1"), ("x2", "n2"), ("x3", "n2"), ("x4", "n2")] {
        let held = Task { spec: Some(reserving(500)), ..task(id, "s1", on, TaskState::Running) };
        cluster.put_task(&held);
    }
    let got = put(&mut cluster, &reserving(500), &[], 2);
    assert_eq!(count(&got), BTreeMap::from([("n1", 1), ("n2", 1)]));
}

#[test]
fn every_filter_that_refused_a_node_is_named_most_frequent_first() {
    let mut paused = with_memory("p", 1_000);
    paused.spec.as_mut().unwrap().availability = NodeAvailability::Pause.into();
    let nodes = [with_memory("a", 10), with_memory("b", 10), with_memory("c", 1_000), paused];
    let mut spec = reserving(100);
    let constraints = vec!["node.role==manager".to_owned()];
    spec.placement = Some(Placement { constraints, ..Default::default() });
    assert_eq!(
        put(&mut cluster(nodes), &spec, &[], 1),
        [concat!(
            "no suitable node (insufficient resources on 2 nodes; ",
            "1 node not available for new tasks; ",
            "scheduling constraints not satisfied on 1 node)"
        )]
    );
}

#[test]
fn without_nodes_there_is_just_no_suitable_node() {
    let got = put(&mut ClusterView::default(), &TaskSpec::default(), &[], 1);
    assert_eq!(got, ["no suitable node"]);
}

#[test]
fn a_platform_is_met_under_any_of_its_names_and_never_by_an_unknown_one() {
    let on = |id, os: &str, architecture: &str| {
        let mut node = node(id);
        node.description.as_mut().unwrap().platform =
            Some(Platform { os: os.into(), architecture: architecture.into() });
        node
    };
    let nodes = [on("n1", "linux", "x86_64"), on("n2", "windows", "amd64"), node("n3")];
    let platforms = vec![Platform { os: "linux".into(), architecture: "amd64".into() }];
    let spec = placed(Placement { platforms, ..Default::default() });
    assert_eq!(put(&mut cluster(nodes), &spec, &[], 2), ["n1", "n1"]);
}

#[test]
fn a_host_port_is_held_until_its_task_has_ended() {
    let port = PortConfig {
        target: 80,
        published: 8080,
        mode: PublishMode::Host.into(),
        ..Default::default()
    };
    let mut cluster = cluster([node("a")]);
    let mut old = task("old", "s1", "a", TaskState::Running);
    old.desired_state = TaskState::Shutdown.into();
    old.endpoint = Some(Endpoint { ports: vec![port.clone()], ..Default::default() });
    cluster.put_task(&old);
    let ports = [port];
    let why = "no suitable node (host-mode port already in use on 1 node)";
    assert_eq!(put(&mut cluster, &TaskSpec::default(), &ports, 1), [why]);
    old.status.as_mut().unwrap().state = TaskState::Shutdown.into();
    cluster.put_task(&old);
    assert_eq!(put(&mut cluster, &TaskSpec::default(), &ports, 2), ["a", why]);
}

#[test]
fn no_more_than_max_replicas_go_to_one_node() {
    let spec = placed(Placement { max_replicas: 1, ..Default::default() });
    let got = put(&mut cluster([node("a"), node("b")]), &spec, &[], 3);
    let why = "no suitable node (max replicas per node limit exceed on 2 nodes)";
    assert_eq!(got, ["a", "b", why]);
}

#[test]
fn a_node_where_the_spec_failed_five_times_lately_comes_last() {
    let mut cluster = cluster([node("a"), node("b")]);
    run_on(&mut cluster, "s1", "b", 3);
    for i in 0..5 {
        let mut failed = task(&format!("f{i}"), "s1", "a", TaskState::Failed);
        failed.spec_version = 1;
        failed.status.as_mut().unwrap().timestamp = Some(swarm_api::time::from_nanos(SECOND));
        cluster.put_task(&failed);
    }
    let mut later = cluster.clone();
    assert_eq!(put(&mut cluster, &TaskSpec::default(), &[], 1), ["b"]);
    let tasks = vec![Candidate { task_id: "t", node_id: None }];
    let spec = TaskSpec::default();
    let group = Group { service_id: "s1", spec_version: 1, spec: &spec, ports: &[], tasks };
    let decision = place(&mut later, &[group], 400 * SECOND).remove(0);
    assert_eq!(decision.outcome, Outcome::Node("a".into()));
}

#[test]
fn a_settled_node_is_only_checked() {
    let mut cluster = cluster([with_memory("a", 10), with_memory("b", 100)]);
    let spec = reserving(50);
    let tasks = ["a", "b", "gone"].map(|n| Candidate { task_id: n, node_id: Some(n) }).to_vec();
    let group = Group { service_id: "s1", spec_version: 1, spec: &spec, ports: &[], tasks };
    let got: Vec<_> = place(&mut cluster, &[group], 0).into_iter().map(|d| d.outcome).collect();
    assert_eq!(
        got,
        [
            Outcome::Nowhere("no suitable node (insufficient resources on 1 node)".into()),
            Outcome::Node("b".into()),
            Outcome::Nowhere("no suitable node (its node is gone)".into()),
        ]
    );
}

#[test]
fn putting_a_task_twice_counts_it_once_and_removing_it_frees_all() {
    let mut cluster = cluster([with_memory("a", 50)]);
    let held = Task { spec: Some(reserving(50)), ..task("t", "s1", "a", TaskState::Running) };
    cluster.put_task(&held);
    cluster.put_task(&held);
    assert_eq!(cluster.node("a").unwrap().active_of("s1"), 1);
    cluster.remove_task("a", "t");
    assert_eq!(cluster.node("a").unwrap().active(), 0);
    assert_eq!(put(&mut cluster, &reserving(50), &[], 1), ["a"]);
}

proptest! {
    #[test]
    fn no_node_is_overfilled_and_none_waits_while_there_is_room(
        sizes in prop::collection::vec(0i64..20, 1..8), each in 1i64..7, wanted in 0usize..40,
    ) {
        let nodes = sizes.iter().enumerate().map(|(i, s)| with_memory(&format!("n{i}"), *s));
        let got = put(&mut cluster(nodes), &reserving(each), &[], wanted);
        let counts = count(&got);
        let room: i64 = sizes.iter().map(|s| s / each).sum();
        let mut placed = 0;
        for (i, size) in sizes.iter().enumerate() {
            let here = counts.get(format!("n{i}").as_str()).copied().unwrap_or(0);
            prop_assert!(here as i64 * each <= *size);
            placed += here;
        }
        prop_assert_eq!(placed as i64, room.min(wanted as i64));
    }
}
