//! A cluster of one node without Raft, whose agent does at once what is desired: time goes by in steps, and the passes run
//! as a leader runs them.

use std::collections::BTreeSet;

use futures::executor::block_on;
use swarm_api::time::{from_nanos, to_proto};
use swarm_api::{
    Annotations, Cluster, ClusterSpec, ContainerSpec, Network, NetworkSpec, Node, NodeDescription,
    NodeSpec, NodeState, NodeStatus, Service, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus,
};
use swarm_manager::reconcile::pass;
use swarm_raft_store::{Store, StoreError};

const SECOND: i64 = 1_000_000_000;
/// Passes and actions after which a moment must have come to rest.
const MAX_ROUNDS: usize = 100;

/// The image of the first spec.
pub const OLD: &str = "old:1";
/// The image after an update.
pub const NEW: &str = "new:1";

/// How a task of an image ends.
pub type Fate = fn(nth: usize, image: &str) -> Option<i32>;

/// The cluster and what was seen in it.
pub struct World {
    store: Store,
    now: i64,
    made: u64,
    fate: Fate,
    /// Ids of tasks that were started, in that order, with their images.
    started: Vec<(String, String)>,
    ended: BTreeSet<String>,
    /// Most tasks that ran at once.
    pub most_running: usize,
    /// States of the update, in the order they were seen.
    pub states: Vec<i32>,
}

/// Why a world cannot go on.
pub type Broken = String;

impl World {
    /// With one node and the service `s` of `spec`. The `nth` task of an image (from 1 on) ends with what `fate` says.
    pub fn new(spec: ServiceSpec, fate: Fate) -> Result<Self, Broken> {
        let store = Store::standalone();
        let now = 1000 * SECOND;
        let made = store.transact(now, |tx| {
            tx.create(Cluster {
                id: "cluster".into(),
                spec: Some(ClusterSpec {
                    annotations: named("default"),
                    task_history_limit: 5,
                    ..ClusterSpec::default()
                }),
                ..Cluster::default()
            })?;
            let ingress = NetworkSpec {
                annotations: named("ingress"),
                ingress: true,
                ..NetworkSpec::default()
            };
            tx.create(Network { id: "in".into(), spec: Some(ingress), ..Network::default() })?;
            tx.create(node("n1"))?;
            tx.create(Service {
                id: "s".into(),
                spec: Some(spec.clone()),
                spec_version: 1,
                ..Service::default()
            })
        });
        block_on(made).map_err(|e: StoreError| e.to_string())?;
        Ok(World {
            store,
            now,
            made: 0,
            fate,
            started: Vec::new(),
            ended: BTreeSet::new(),
            most_running: 0,
            states: Vec::new(),
        })
    }

    /// Lets `seconds` go by.
    pub fn live(&mut self, seconds: usize) -> Result<(), Broken> {
        for _ in 0..seconds {
            self.settle()?;
            self.now += SECOND;
        }
        Ok(())
    }

    /// Gives the service another image, as an update does.
    pub fn update(&mut self) -> Result<(), Broken> {
        self.edit(|service: &mut Service| {
            let Some(spec) = service.spec.as_mut() else { return };
            service.previous_spec = Some(spec.clone());
            set_image(spec, NEW);
            service.previous_spec_version = service.spec_version;
            service.spec_version += 1;
            service.update_status = None;
        })
    }

    /// The image that the service asks for now.
    pub fn image(&self) -> String {
        let view = self.store.view();
        let spec = view.get::<Service>("s").and_then(|service| service.spec.as_ref());
        spec.and_then(|spec| spec.task.as_ref()).map(image_of).unwrap_or_default().to_owned()
    }

    /// How many tasks were ever started.
    pub fn started(&self) -> usize {
        self.started.len()
    }

    fn settle(&mut self) -> Result<(), Broken> {
        for _ in 0..MAX_ROUNDS {
            let version = self.store.view().version();
            self.pass()?;
            self.act()?;
            self.look();
            if self.store.view().version() == version {
                return Ok(());
            }
        }
        Err("the passes do not come to rest".into())
    }

    fn pass(&mut self) -> Result<(), Broken> {
        let (now, made) = (self.now, &mut self.made);
        let decided = self.store.transact(now, |tx| {
            let mut ids = || {
                *made += 1;
                format!("t{made:06}")
            };
            pass(tx.view(), now, &mut ids).apply(tx).map(|_| ())
        });
        block_on(decided).map_err(|e: StoreError| e.to_string())
    }

    /// What the agent does.
    fn act(&mut self) -> Result<(), Broken> {
        let view = self.store.view();
        for task in view.all::<Task>() {
            if !(TaskState::Assigned..=TaskState::Running).contains(&task.state()) {
                continue;
            }
            let (state, exit) = match task.desired_state() {
                TaskState::Running if self.ended.contains(&task.id) => continue,
                TaskState::Running if task.state() == TaskState::Running => {
                    let image = task.spec.as_ref().map(image_of).unwrap_or_default();
                    let nth = 1 + self.place_of(&task.id, image);
                    match (self.fate)(nth, image) {
                        None => continue,
                        Some(0) => (TaskState::Complete, 0),
                        Some(code) => (TaskState::Failed, code),
                    }
                }
                TaskState::Running => (TaskState::Running, 0),
                TaskState::Ready if task.state() == TaskState::Ready => continue,
                TaskState::Ready => (TaskState::Ready, 0),
                _ => (TaskState::Shutdown, 0),
            };
            self.report(task, state, exit)?;
        }
        Ok(())
    }

    fn place_of(&self, id: &str, image: &str) -> usize {
        let same = self.started.iter().filter(|(_, other)| other == image);
        same.take_while(|(other, _)| other != id).count()
    }

    fn report(&mut self, task: &Task, state: TaskState, exit: i32) -> Result<(), Broken> {
        let now = from_nanos(self.now);
        if state == TaskState::Running {
            let image = task.spec.as_ref().map(image_of).unwrap_or_default();
            self.started.push((task.id.clone(), image.to_owned()));
        }
        let mut changed = task.clone();
        let mut status =
            TaskStatus { state: state.into(), timestamp: Some(now), ..TaskStatus::default() };
        if state > TaskState::Running {
            self.ended.insert(task.id.clone());
            status.container.get_or_insert_default().exit_code = exit;
        }
        changed.status = Some(status);
        let written = self.store.transact(self.now, |tx| tx.update(changed.clone()));
        block_on(written).map_err(|e: StoreError| e.to_string())
    }

    fn look(&mut self) {
        let view = self.store.view();
        let running = view.all::<Task>().filter(|t| t.state() == TaskState::Running).count();
        self.most_running = self.most_running.max(running);
        let status = view.get::<Service>("s").and_then(|service| service.update_status.as_ref());
        if let Some(state) = status.map(|status| status.state)
            && self.states.last() != Some(&state)
        {
            self.states.push(state);
        }
    }

    fn edit(&mut self, change: impl Fn(&mut Service)) -> Result<(), Broken> {
        let edited = self.store.transact(self.now, |tx| {
            let service = tx.view().get::<Service>("s").cloned();
            let Some(mut service) = service else { return Ok(()) };
            change(&mut service);
            tx.update(service)
        });
        block_on(edited).map_err(|e: StoreError| e.to_string())
    }
}

/// A service of [`OLD`], as the door leaves it: defaults filled in.
pub fn service() -> ServiceSpec {
    let mut spec = ServiceSpec { annotations: named("s"), ..ServiceSpec::default() };
    let task = spec.task.get_or_insert_default();
    task.container = Some(ContainerSpec { image: OLD.into(), ..ContainerSpec::default() });
    task.restart.get_or_insert_default().delay = Some(to_proto(std::time::Duration::from_secs(5)));
    for config in [&mut spec.update, &mut spec.rollback] {
        let config = config.get_or_insert_default();
        config.parallelism = 1;
        config.monitor = Some(to_proto(std::time::Duration::from_secs(5)));
    }
    spec
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec { annotations: named(id), ..NodeSpec::default() }),
        description: Some(NodeDescription { hostname: id.into(), ..NodeDescription::default() }),
        status: Some(NodeStatus { state: NodeState::NodeReady.into(), ..NodeStatus::default() }),
        ..Node::default()
    }
}

fn image_of(spec: &TaskSpec) -> &str {
    spec.container.as_ref().map_or("", |container| &container.image)
}

fn set_image(spec: &mut ServiceSpec, image: &str) {
    image
        .clone_into(&mut spec.task.get_or_insert_default().container.get_or_insert_default().image);
}
