use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use swarm_api::time::to_proto;
use swarm_api::{Annotations, Cluster, NodeSpec, NodeState, NodeStatus};
use swarm_raft_store::Member;

use super::*;

const SECOND: i64 = 1_000_000_000;
const AFTER: i64 = 600 * SECOND;

fn node(id: &str, role: NodeRole, spare: bool) -> Node {
    let labels = if spare { [(LABEL.to_owned(), "true".to_owned())].into() } else { [].into() };
    let annotations = Some(Annotations { labels, ..Annotations::default() });
    let spec = NodeSpec { annotations, desired_role: role.into(), ..NodeSpec::default() };
    let status = NodeStatus { state: NodeState::NodeReady.into(), ..NodeStatus::default() };
    Node {
        id: id.into(),
        spec: Some(spec),
        role: role.into(),
        status: Some(status),
        ..Node::default()
    }
}

/// Managers m1 (which leads), m2, m3, …; those of `silent` do not answer.
fn members(count: usize, silent: &[&str]) -> Vec<MemberState> {
    let state = |n: usize| {
        let node_id = format!("m{n}");
        MemberState {
            reachable: !silent.contains(&node_id.as_str()),
            voter: true,
            is_leader: n == 1,
            member: Member { raft_id: n as u64, node_id, addr: String::new() },
        }
    };
    (1..=count).map(state).collect()
}

/// A cluster that wants so many managers, with these nodes.
async fn store(wanted: u64, nodes: &[Node]) -> Store {
    let store = Store::standalone();
    let annotations = Some(Annotations { name: "default".into(), ..Annotations::default() });
    let spec = ClusterSpec { annotations, spare_managers: wanted, ..ClusterSpec::default() };
    let cluster = Cluster { id: "c1".into(), spec: Some(spec), ..Cluster::default() };
    let made = store.transact(0, |tx| {
        tx.create(cluster.clone())?;
        nodes.iter().try_for_each(|node| tx.create(node.clone()))
    });
    made.await.map_err(|e: StoreError| e).unwrap();
    store
}

fn three(workers: &[Node]) -> Vec<Node> {
    let managers = ["m1", "m2", "m3"].map(|id| node(id, NodeRole::Manager, false));
    managers.into_iter().chain(workers.iter().cloned()).collect()
}

/// What is done after `members` have been as they are for `time`.
fn after(view: &View, members: &[MemberState], time: i64) -> Option<Step> {
    let mut silence = Silence::default();
    silence.note(members, 7);
    next_step(view, members, &silence, 7 + time)
}

#[tokio::test]
async fn a_spare_takes_the_place_of_a_manager_that_was_lost_for_long_and_only_if_asked_for() {
    let workers = [node("w1", NodeRole::Worker, false), node("w2", NodeRole::Worker, true)];
    let nodes = three(&workers);
    let lost = members(3, &["m3"]);
    let asked = store(3, &nodes).await.view();
    assert_eq!(after(&asked, &lost, AFTER), Some(Step::Promote("w2".into())));
    assert_eq!(after(&asked, &lost, AFTER - 1), None);
    assert_eq!(after(&asked, &members(3, &[]), AFTER), None);
    let off = store(0, &nodes).await.view();
    assert_eq!(after(&off, &lost, AFTER), None);
}

#[tokio::test]
async fn the_lost_one_goes_once_the_spare_answers_in_its_place() {
    let mut nodes = three(&[]);
    nodes.push(node("m4", NodeRole::Manager, true));
    let view = store(3, &nodes).await.view();
    assert_eq!(after(&view, &members(4, &["m3"]), AFTER), Some(Step::Demote("m3".into())));
}

#[tokio::test]
async fn nothing_is_done_where_the_quorum_would_go_or_there_is_no_spare_or_a_change_is_under_way() {
    let lost = members(3, &["m3"]);
    // Set aside, but down, drained, or already asked for.
    let mut down = node("w1", NodeRole::Worker, true);
    down.status.as_mut().unwrap().set_state(NodeState::NodeDown);
    let mut drained = node("w2", NodeRole::Worker, true);
    drained.spec.as_mut().unwrap().set_availability(NodeAvailability::Drain);
    let view = store(3, &three(&[down, drained])).await.view();
    assert_eq!(after(&view, &lost, AFTER), None);
    let mut asked = node("w1", NodeRole::Worker, true);
    asked.spec.as_mut().unwrap().set_desired_role(NodeRole::Manager);
    let spare = node("w2", NodeRole::Worker, true);
    let view = store(3, &three(&[asked, spare])).await.view();
    assert_eq!(after(&view, &lost, AFTER), None);
    // Promoted, but not a voter yet.
    let view = store(3, &three(&[node("m4", NodeRole::Manager, true)])).await.view();
    assert_eq!(after(&view, &lost, AFTER), None);
    // Two of four are silent: without one of them two of three would have to answer, and do; without quorum nothing helps.
    let mut nodes = three(&[]);
    nodes.push(node("m4", NodeRole::Manager, false));
    let view = store(2, &nodes).await.view();
    let step = after(&view, &members(4, &["m3", "m4"]), AFTER);
    assert_eq!(step, Some(Step::Demote("m3".into())));
    let view = store(1, &nodes).await.view();
    assert_eq!(after(&view, &members(4, &["m2", "m3", "m4"]), AFTER), None);
}

#[test]
fn a_manager_that_answers_in_between_is_not_lost() {
    let mut silence = Silence::default();
    silence.note(&members(3, &["m2", "m3"]), 0);
    silence.note(&members(3, &["m3"]), SECOND);
    silence.note(&members(3, &["m2", "m3"]), 2 * SECOND);
    assert_eq!(silence.lost(AFTER, PATIENCE), ["m3"]);
    assert_eq!(silence.lost(AFTER + 2 * SECOND, PATIENCE), ["m3", "m2"]);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_writes_the_wish_when_the_clock_says_so() {
    let store = store(3, &three(&[node("w1", NodeRole::Worker, true)])).await;
    let change = store.transact(0, |tx| {
        let mut cluster = tx.view().cluster().cloned().unwrap();
        let spec = cluster.spec.as_mut().unwrap();
        spec.spare_after = Some(to_proto(Duration::from_secs(60)));
        tx.update(cluster)
    });
    change.await.map_err(|e: StoreError| e).unwrap();
    let keeper = SpareKeeper::new(store.clone(), Quorum::Standalone, Clock::system());
    keeper.take(&Step::Promote("w1".into())).await.unwrap();
    let wish =
        |id: &str| store.view().get::<Node>(id).unwrap().spec.as_ref().unwrap().desired_role();
    assert_eq!(wish("w1"), NodeRole::Manager);
    // By a clock of its own: 60 s are long here.
    let time = Arc::new(AtomicI64::new(0));
    let lost = members(3, &["m3"]);
    let mut silence = Silence::default();
    silence.note(&lost, time.load(Ordering::Relaxed));
    keeper.take(&Step::Demote("w1".into())).await.unwrap();
    time.store(59 * SECOND, Ordering::Relaxed);
    let now = || time.load(Ordering::Relaxed);
    assert_eq!(next_step(&store.view(), &lost, &silence, now()), None);
    time.store(60 * SECOND, Ordering::Relaxed);
    let step = next_step(&store.view(), &lost, &silence, now());
    assert_eq!(step, Some(Step::Promote("w1".into())));
}
