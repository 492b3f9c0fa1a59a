//! A worker that runs nothing: it registers with whichever manager leads, and reports of each task
//! that it is where it is to be, after a while. Some tasks fail, and some agents fall silent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use swarm_api::assignment::Item;
use swarm_api::assignment_change::Action;
use swarm_api::assignments_message::Type;
use swarm_api::dispatcher_server::Dispatcher as _;
use swarm_api::{
    AssignmentsMessage, AssignmentsRequest, HeartbeatRequest, NodeRole, SessionRequest, Task,
    TaskState, TaskStatus, TaskStatusUpdate, UpdateTaskStatusRequest,
};
use swarm_ca::Caller;
use swarm_manager::dispatch::Dispatcher;
use swarm_manager::simulation::Seat;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::world::{CLUSTER, World};

/// Between two looks at its tasks.
const TICK: Duration = Duration::from_millis(400);
/// What a task goes through on its way to running.
const STEPS: [TaskState; 5] = [
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
];

/// A task as its agent knows it.
struct Held {
    desired: TaskState,
    state: TaskState,
    /// Whether the managers know.
    told: bool,
}

pub struct Agent {
    world: Arc<World>,
    node_id: String,
    tasks: BTreeMap<String, Held>,
}

impl Agent {
    pub fn new(world: &Arc<World>, node_id: &str) -> Self {
        let (world, tasks) = (Arc::clone(world), BTreeMap::new());
        Self { world, node_id: node_id.to_owned(), tasks }
    }

    /// Serves until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(dispatcher) = self.leader() {
                let served = stop.run_until_cancelled(self.serve(&dispatcher)).await;
                if let Some(Err(status)) = served {
                    let (node_id, why) = (&self.node_id, status.message());
                    self.world.trace.note(format!("agent {node_id} is without manager: {why}"));
                }
            }
            let pause = self.world.millis(100..1500);
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// One of those that lead, or believe so.
    fn leader(&self) -> Option<Dispatcher> {
        let lives = self.world.up().into_iter().filter_map(|host| self.world.life(host));
        let dispatchers: Vec<Dispatcher> = lives
            .filter_map(|life| match &*life.seat.borrow() {
                Seat::Here { leading, .. } => Some(leading.dispatcher.clone()),
                _ => None,
            })
            .collect();
        let at = self.world.draw(|random| random.random_range(0..dispatchers.len().max(1)));
        dispatchers.into_iter().nth(at)
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let (node_id, cluster_id) = (self.node_id.clone(), CLUSTER.to_owned());
        let role = NodeRole::Worker;
        request.extensions_mut().insert(Caller::Node { node_id, role, cluster_id });
        request
    }

    async fn serve(&mut self, dispatcher: &Dispatcher) -> Result<(), Status> {
        let session = dispatcher.session(self.ask(SessionRequest::default())).await?;
        let mut session = session.into_inner();
        let gone = || Status::unavailable("the session has ended");
        let session_id = session.next().await.ok_or_else(gone)??.session_id;
        let request = self.ask(AssignmentsRequest { session_id: session_id.clone() });
        let mut assignments = dispatcher.assignments(request).await?.into_inner();
        self.tasks.values_mut().for_each(|task| task.told = false);
        loop {
            tokio::select! {
                message = assignments.next() => self.take(message.ok_or_else(gone)??),
                message = session.next() => drop(message.ok_or_else(gone)??),
                () = tokio::time::sleep(TICK) => {
                    if self.world.troubled() && self.world.chance(0.01) {
                        tokio::time::sleep(self.world.millis(500..9000)).await;
                        return Err(Status::unavailable("the agent was cut off"));
                    }
                    let session_id_now = session_id.clone();
                    let beat =
                        HeartbeatRequest { session_id: session_id_now, ..Default::default() };
                    dispatcher.heartbeat(self.ask(beat)).await?;
                    self.report(dispatcher, &session_id).await?;
                }
            }
        }
    }

    fn take(&mut self, message: AssignmentsMessage) {
        if message.r#type() == Type::Complete {
            let kept = |id: &String| {
                let mut tasks =
                    message.changes.iter().filter_map(|c| task_of(c.assignment.as_ref()));
                tasks.any(|task| task.id == *id)
            };
            self.tasks.retain(|id, _| kept(id));
        }
        for change in &message.changes {
            let Some(task) = task_of(change.assignment.as_ref()) else { continue };
            if change.action() == Action::Remove {
                self.tasks.remove(&task.id);
                continue;
            }
            let (desired, state) = (task.desired_state(), task.state());
            let held =
                self.tasks.entry(task.id.clone()).or_insert(Held { desired, state, told: true });
            held.desired = desired;
        }
    }

    /// Moves its tasks on and says so.
    async fn report(&mut self, dispatcher: &Dispatcher, session_id: &str) -> Result<(), Status> {
        let world = Arc::clone(&self.world);
        for held in self.tasks.values_mut() {
            let next = step(&world, held);
            held.told &= next == held.state;
            held.state = next;
        }
        let untold = self.tasks.iter().filter(|(_, held)| !held.told);
        let updates: Vec<TaskStatusUpdate> = untold
            .map(|(id, held)| TaskStatusUpdate {
                task_id: id.clone(),
                status: Some(TaskStatus { state: held.state.into(), ..TaskStatus::default() }),
            })
            .collect();
        if updates.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = updates.iter().map(|update| update.task_id.clone()).collect();
        let session_id = session_id.to_owned();
        let request = self.ask(UpdateTaskStatusRequest { session_id, updates });
        dispatcher.update_task_status(request).await?;
        for id in told {
            if let Some(held) = self.tasks.get_mut(&id) {
                held.told = true;
            }
        }
        Ok(())
    }
}

fn task_of(assignment: Option<&swarm_api::Assignment>) -> Option<&Task> {
    match assignment?.item.as_ref()? {
        Item::Task(task) => Some(task),
        _ => None,
    }
}

/// Where a task is one step later.
fn step(world: &World, held: &Held) -> TaskState {
    if held.state > TaskState::Running {
        return held.state;
    }
    if held.desired >= TaskState::Shutdown {
        return TaskState::Shutdown;
    }
    if held.state == TaskState::Running && world.troubled() && world.chance(0.01) {
        return TaskState::Failed;
    }
    let next = STEPS.into_iter().find(|next| *next > held.state && *next <= held.desired);
    next.filter(|_| world.chance(0.8)).unwrap_or(held.state)
}
