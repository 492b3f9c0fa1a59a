//! Whole managers: the leader's life (seed, passes, dispatch, roles) on every host, agents that
//! register with whoever leads, an operator at the door. After healing every service must run as
//! its spec asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use swarm_api::service_spec::Mode;
use swarm_api::{
    Annotations, Node, NodeDescription, NodeRole, NodeSpec, NodeStatus, Service, Task, TaskState,
};
use swarm_raft_store::{StoreError, View};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chaos;
use crate::agent::Agent;
use crate::command::Options;
use crate::history::Record;
use crate::world::{Settings, World};
use crate::{fault, membership, operator};

const AGENTS: [&str; 3] = ["w1", "w2", "w3"];
/// Until all services run: nodes that fell silent come back, restarts wait five seconds, updates
/// watch each task for as long.
const REST: Duration = Duration::from_secs(150);

pub fn settings(seed: u64) -> Settings {
    // A second apart, as clocks that are kept are.
    let skew = Duration::from_secs(1);
    Settings { managers: true, skew, ..chaos::settings(seed) }
}

pub async fn run(world: Arc<World>, options: Options) -> Result<String, String> {
    membership::found(&world, 3).await?;
    prepare(&world).await?;
    let stop = CancellationToken::new();
    let stop_faults = CancellationToken::new();
    let workers = TaskTracker::new();
    let stop_agents = CancellationToken::new();
    for node_id in AGENTS {
        workers.spawn(Agent::new(&world, node_id).run(stop_agents.clone()));
    }
    let operator = tokio::spawn(operator::run(Arc::clone(&world), stop.clone()));
    let keeper = tokio::spawn(keep_running(Arc::clone(&world)));
    let faults = tokio::spawn(fault::run(Arc::clone(&world), stop_faults.clone()));
    world.trouble(true);
    sleep(Duration::from_secs(options.storm)).await;
    world.trouble(false);
    stop_faults.cancel();
    faults.await.map_err(|e| format!("the faults ended: {e}"))?;
    let progress = chaos::heal(&world, &Arc::new(Record::default())).await?;
    stop.cancel();
    operator.await.map_err(|e| format!("the operator ended: {e}"))?;
    let (rested, tasks) = rest(&world).await?;
    keeper.abort();
    stop_agents.cancel();
    workers.close();
    workers.wait().await;
    chaos::rest(&world).await?;
    Ok(format!("progress after {progress:?}, {tasks} tasks run after {rested:?}"))
}

/// The workers join, as the door would let them.
async fn prepare(world: &Arc<World>) -> Result<(), String> {
    while world.leader().is_none_or(|(_, life)| !life.seat.borrow().is_taken()) {
        sleep(Duration::from_millis(50)).await;
    }
    let (host, life) = world.leader().ok_or("nobody leads")?;
    let nodes: Vec<Node> = AGENTS.into_iter().map(node).collect();
    let store = life.replica.store();
    let joined = store.transact(world.now_ns(host), |tx| {
        nodes.iter().try_for_each(|node| tx.create(node.clone()))
    });
    joined.await.map_err(|e: StoreError| e.to_string())
}

fn node(id: &str) -> Node {
    let spec = NodeSpec {
        annotations: Some(Annotations::default()),
        desired_role: NodeRole::Worker.into(),
        ..NodeSpec::default()
    };
    let description = NodeDescription { hostname: id.to_owned(), ..NodeDescription::default() };
    Node {
        id: id.to_owned(),
        spec: Some(spec),
        role: NodeRole::Worker.into(),
        description: Some(description),
        status: Some(NodeStatus::default()),
        ..Node::default()
    }
}

/// A manager that gives up is started again, as the host's service manager does.
async fn keep_running(world: Arc<World>) {
    loop {
        let host = world.next_quitter().await;
        world.stop(host).await;
        sleep(world.millis(500..2000)).await;
        world.start(host).await;
    }
}

/// Waits until every service runs as it is to; how long that took, and how many tasks run.
async fn rest(world: &Arc<World>) -> Result<(Duration, usize), String> {
    let start = Instant::now();
    loop {
        let outcome = match world.leader() {
            Some((_, life)) => match life.replica.read_barrier().await {
                Ok(()) => all_run(&life.replica.store().view()),
                Err(error) => Err(error.to_string()),
            },
            None => Err("nobody leads".to_owned()),
        };
        match outcome {
            Ok(tasks) => return Ok((start.elapsed(), tasks)),
            Err(reason) if start.elapsed() > REST => {
                return Err(format!("progress: {REST:?} after healing: {reason}"));
            }
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

fn replicas(service: &Service) -> u64 {
    match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) => mode.replicas,
        _ => 0,
    }
}

fn all_run(view: &View) -> Result<usize, String> {
    let mut count = 0;
    for service in view.all::<Service>() {
        let wanted = replicas(service);
        let meant = |task: &&Task| task.desired_state() == TaskState::Running;
        let tasks: Vec<&Task> = view.tasks_of_service(&service.id).filter(meant).collect();
        let running = tasks.iter().filter(|task| task.state() == TaskState::Running).count();
        let slots: BTreeSet<u64> = tasks.iter().map(|task| task.slot).collect();
        let right = tasks.len() as u64 == wanted && running == tasks.len();
        if !right || slots.len() != tasks.len() {
            return Err(format!(
                "{} is to run {wanted} tasks: {} are to run, {running} do, in slots {slots:?}",
                service.id,
                tasks.len()
            ));
        }
        count += running;
    }
    let orphan = |task: &&Task| {
        view.get::<Service>(&task.service_id).is_none() && task.state() <= TaskState::Running
    };
    match view.all::<Task>().find(orphan) {
        Some(task) => Err(format!("{} runs for a service that is gone", task.id)),
        None => Ok(count),
    }
}
