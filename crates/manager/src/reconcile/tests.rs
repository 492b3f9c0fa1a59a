//! The passes on a store without Raft: a small world of nodes whose agents do at once what is desired.

use std::collections::BTreeMap;

use futures::executor::block_on;
use swarm_api::object::Stored;
use swarm_api::time::from_nanos;
use swarm_api::{
    Annotations, Cluster, ClusterSpec, ContainerSpec, EndpointSpec, GlobalMode, Network,
    NetworkAttachmentConfig, NetworkSpec, Node, NodeAvailability, NodeDescription, NodeSpec,
    NodeState, NodeStatus, PortConfig, ReplicatedMode, RestartPolicy, Service, ServiceSpec, Task,
    TaskSpec, TaskState, TaskStatus, UpdateConfig, UpdateState, service_spec,
};
use swarm_raft_store::{Store, StoreError};

use super::{Plan, pass};

mod allocation;
mod global;
mod lost;
mod placement;
pub(crate) mod property;
mod replicated;
mod restarts;
mod running;
mod updates;

const SECOND: i64 = 1_000_000_000;
/// Passes after which a world must have come to rest.
const MAX_PASSES: usize = 20;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) now: i64,
    made: u64,
}

pub(crate) fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), labels: BTreeMap::new() })
}

pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

impl World {
    /// A cluster with its ingress network and these nodes, all ready.
    pub(crate) fn new(nodes: &[&str]) -> World {
        let world = World { store: Store::standalone(), now: 1000 * SECOND, made: 0 };
        world.create(Cluster {
            id: "cluster".into(),
            spec: Some(ClusterSpec {
                annotations: named("default"),
                task_history_limit: 5,
                ..Default::default()
            }),
            ..Default::default()
        });
        world.network("ingress", |spec| spec.ingress = true);
        nodes.iter().for_each(|id| world.node(id));
        world
    }

    pub(crate) fn create<T: Stored>(&self, object: T) {
        let created = self.store.transact(self.now, |tx| tx.create(object.clone()));
        block_on(created).unwrap();
    }

    pub(crate) fn edit<T: Stored>(&self, id: &str, edit: impl Fn(&mut T)) {
        let edited = self.store.transact(self.now, |tx| {
            let mut object = tx.view().get::<T>(id).cloned().unwrap();
            edit(&mut object);
            tx.update(object)
        });
        block_on(edited).unwrap();
    }

    pub(crate) fn remove<T: Stored>(&self, id: &str) {
        block_on(self.store.transact(self.now, |tx| tx.remove::<T>(id))).unwrap();
    }

    pub(crate) fn node(&self, id: &str) {
        self.create(Node {
            id: id.into(),
            spec: Some(NodeSpec { annotations: named(id), ..Default::default() }),
            description: Some(NodeDescription { hostname: id.into(), ..Default::default() }),
            status: Some(NodeStatus { state: NodeState::NodeReady.into(), ..Default::default() }),
            ..Default::default()
        });
    }

    pub(crate) fn set_state(&self, node: &str, state: NodeState) {
        let since = Some(from_nanos(self.now));
        self.edit::<Node>(node, |n| {
            let status = n.status.as_mut().unwrap();
            status.since = since;
            status.set_state(state);
        });
    }

    pub(crate) fn set_availability(&self, node: &str, availability: NodeAvailability) {
        self.edit::<Node>(node, |n| n.spec.as_mut().unwrap().set_availability(availability));
    }

    pub(crate) fn label(&self, node: &str, key: &str, value: &str) {
        self.edit::<Node>(node, |n| {
            let annotations = n.spec.as_mut().unwrap().annotations.as_mut().unwrap();
            annotations.labels.insert(key.into(), value.into());
        });
    }

    pub(crate) fn network(&self, id: &str, change: impl Fn(&mut NetworkSpec)) {
        let mut spec =
            NetworkSpec { annotations: named(id), driver: "overlay".into(), ..Default::default() };
        change(&mut spec);
        self.create(Network { id: id.into(), spec: Some(spec), ..Default::default() });
    }

    /// A service of `replicas` tasks whose id is its name.
    pub(crate) fn service(&self, name: &str, replicas: u64, change: impl Fn(&mut ServiceSpec)) {
        let container = Some(ContainerSpec { image: "app:1".into(), ..Default::default() });
        let mut spec = ServiceSpec {
            annotations: named(name),
            task: Some(TaskSpec { container, ..Default::default() }),
            mode: Some(service_spec::Mode::Replicated(ReplicatedMode { replicas })),
            ..Default::default()
        };
        change(&mut spec);
        self.create(Service {
            id: name.into(),
            spec: Some(spec),
            spec_version: 1,
            ..Default::default()
        });
    }

    /// As the door updates a service: the former spec is kept, and a new template gets a new version.
    pub(crate) fn update(&self, name: &str, change: impl Fn(&mut ServiceSpec)) {
        self.edit::<Service>(name, |s| {
            let before = s.spec.clone().unwrap();
            change(s.spec.as_mut().unwrap());
            if s.spec.as_ref().unwrap().task != before.task {
                s.previous_spec_version = s.spec_version;
                s.spec_version += 1;
            }
            s.previous_spec = Some(before);
            s.update_status = None;
        });
    }

    pub(crate) fn set_image(&self, name: &str, image: &str) {
        self.update(name, |s| template(s).container.as_mut().unwrap().image = image.into());
    }

    /// One pass, written.
    pub(crate) fn pass(&mut self) -> Plan {
        let (now, made) = (self.now, &mut self.made);
        let decided = self.store.transact(now, |tx| {
            let mut ids = || {
                *made += 1;
                format!("t{made:04}")
            };
            let plan = pass(tx.view(), now, &mut ids);
            plan.apply(tx)?;
            Ok::<_, StoreError>(plan)
        });
        block_on(decided).unwrap()
    }

    /// Passes until nothing more is to be written; returns the last, empty plan.
    pub(crate) fn rest(&mut self) -> Plan {
        for _ in 0..MAX_PASSES {
            let plan = self.pass();
            if plan.is_empty() {
                return plan;
            }
        }
        panic!("the passes do not come to rest");
    }

    pub(crate) fn tasks(&self, service: &str) -> Vec<Task> {
        let mut tasks: Vec<Task> = self.store.view().tasks_of_service(service).cloned().collect();
        tasks.sort_by_key(|t| t.id.clone());
        tasks
    }

    pub(crate) fn live(&self, service: &str) -> Vec<Task> {
        let mut tasks = self.tasks(service);
        tasks.retain(|t| t.desired_state() <= TaskState::Running && !t.is_terminal());
        tasks
    }

    pub(crate) fn running(&self, service: &str) -> usize {
        self.tasks(service).iter().filter(|t| t.state() == TaskState::Running).count()
    }

    pub(crate) fn get_service(&self, name: &str) -> Service {
        self.store.view().get::<Service>(name).cloned().unwrap()
    }

    pub(crate) fn get_node(&self, id: &str) -> Node {
        self.store.view().get::<Node>(id).cloned().unwrap()
    }

    pub(crate) fn update_state(&self, name: &str) -> UpdateState {
        self.get_service(name).update_status.map_or(UpdateState::UpdateNone, |s| s.state())
    }

    /// Reports a state as the dispatcher writes it.
    pub(crate) fn report(&self, task: &str, state: TaskState) {
        let now = Some(from_nanos(self.now));
        self.edit::<Task>(task, |t| {
            t.status =
                Some(TaskStatus { state: state.into(), timestamp: now, ..Default::default() });
            if state == TaskState::Running {
                t.start_after = now;
            }
        });
    }

    /// All agents that can be heard do what is desired, save that images with `bad` in their name fail.
    pub(crate) fn act(&self) {
        let view = self.store.view();
        for task in view.all::<Task>() {
            let node = view.get::<Node>(&task.node_id);
            let heard = node.is_some_and(|n| n.status.unwrap_state() != NodeState::NodeDown);
            let held = (TaskState::Assigned..=TaskState::Running).contains(&task.state());
            if !heard || !held {
                continue;
            }
            let image = &task.spec.as_ref().unwrap().container.as_ref().unwrap().image;
            let next = match task.desired_state() {
                TaskState::Running if image.contains("bad") => TaskState::Failed,
                TaskState::Running => TaskState::Running,
                TaskState::Ready => TaskState::Ready,
                _ => TaskState::Shutdown,
            };
            if next != task.state() {
                self.report(&task.id, next);
            }
        }
    }

    /// Passes and actions until both have nothing to do; time stands still.
    pub(crate) fn live_on(&mut self) -> Plan {
        for _ in 0..MAX_PASSES {
            let version = self.store.view().version();
            let plan = self.rest();
            self.act();
            if self.store.view().version() == version {
                return plan;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets time pass from one due moment to the next, for at most `seconds`.
    pub(crate) fn wait(&mut self, seconds: i64) {
        let end = self.now + seconds * SECOND;
        loop {
            let plan = self.live_on();
            match plan.wake_at() {
                Some(at) if at <= end => self.now = at.max(self.now + 1),
                _ => break,
            }
        }
        self.now = end;
        self.live_on();
    }
}

trait UnwrapState {
    fn unwrap_state(&self) -> NodeState;
}

impl UnwrapState for Option<NodeStatus> {
    fn unwrap_state(&self) -> NodeState {
        self.as_ref().unwrap().state()
    }
}

pub(crate) fn template(spec: &mut ServiceSpec) -> &mut TaskSpec {
    spec.task.as_mut().unwrap()
}

pub(crate) fn on_network(spec: &mut ServiceSpec, network: &str) {
    let target = network.to_owned();
    template(spec).networks.push(NetworkAttachmentConfig { target, ..Default::default() });
}

pub(crate) fn publish(spec: &mut ServiceSpec, target: u32, published: u32) {
    let endpoint = spec.endpoint.get_or_insert_with(EndpointSpec::default);
    endpoint.ports.push(PortConfig { target, published, ..Default::default() });
}

pub(crate) fn as_global(spec: &mut ServiceSpec) {
    spec.mode = Some(service_spec::Mode::Global(GlobalMode {}));
}

pub(crate) fn restarting(spec: &mut ServiceSpec, policy: RestartPolicy) {
    template(spec).restart = Some(policy);
}

pub(crate) fn updating(spec: &mut ServiceSpec, config: UpdateConfig) {
    spec.update = Some(config);
}
