//! The service on a store without Raft and on paused time.

use std::time::{Duration, SystemTime};

use swarm_api::dispatcher_server::Dispatcher as Service;
use swarm_api::{
    AssignmentsRequest, HeartbeatRequest, Node, NodeDescription, NodeState, SessionRequest, Task,
    TaskState, TaskStatus, TaskStatusUpdate, UpdateTaskStatusRequest,
};
use swarm_ca::Caller;
use swarm_raft_store::Store;
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request};

use super::*;
use crate::reconcile::tests::World;

mod content;
mod draining;
mod registering;
mod reporting;
mod telling;

/// A dispatcher that runs; it ends when this is dropped.
struct Term {
    dispatcher: Dispatcher,
    _ends: DropGuard,
}

/// A clock that goes with tokio's, from the time of a new [`World`] on.
fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1000) + start.elapsed())
}

fn lead(store: &Store) -> Term {
    let term = CancellationToken::new();
    let dispatcher = Dispatcher::by(store.clone(), clock(), term.clone());
    tokio::spawn(dispatcher.clone().run());
    Term { dispatcher, _ends: term.drop_guard() }
}

fn from<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let (node_id, cluster_id) = (node.to_owned(), "cluster".to_owned());
    let role = swarm_api::NodeRole::Worker;
    request.extensions_mut().insert(Caller::Node { node_id, role, cluster_id });
    request
}

impl Term {
    /// Registers a node as its store object describes it.
    async fn open(&self, node: &str) -> Agent {
        let view = self.dispatcher.shared.store.view();
        let description = view.get::<Node>(node).and_then(|n| n.description.clone());
        let request = from(node, SessionRequest { description });
        let mut messages = self.dispatcher.session(request).await.unwrap().into_inner();
        let first = messages.next().await.unwrap().unwrap();
        Agent { node: node.into(), session: first.session_id.clone(), first, messages }
    }

    async fn beat(&self, agent: &Agent) -> Result<(), Status> {
        let session_id = agent.session.clone();
        let request =
            from(&agent.node, HeartbeatRequest { session_id, ..HeartbeatRequest::default() });
        self.dispatcher.heartbeat(request).await.map(drop)
    }

    async fn report(&self, agent: &Agent, reports: &[(&str, TaskState)]) -> Result<(), Status> {
        let update = |(task, state): &(&str, TaskState)| TaskStatusUpdate {
            task_id: (*task).into(),
            status: Some(TaskStatus { state: (*state).into(), ..TaskStatus::default() }),
        };
        let updates = reports.iter().map(update).collect();
        let session_id = agent.session.clone();
        let request = from(&agent.node, UpdateTaskStatusRequest { session_id, updates });
        self.dispatcher.update_task_status(request).await.map(drop)
    }

    async fn assignments(
        &self,
        agent: &Agent,
    ) -> ReceiverStream<Result<AssignmentsMessage, Status>> {
        let session_id = agent.session.clone();
        let request = from(&agent.node, AssignmentsRequest { session_id });
        self.dispatcher.assignments(request).await.unwrap().into_inner()
    }
}

struct Agent {
    node: String,
    session: String,
    first: SessionMessage,
    messages: ReceiverStream<Result<SessionMessage, Status>>,
}

fn state(world: &World, node: &str) -> NodeState {
    world.get_node(node).status.unwrap().state()
}

/// Lets this much time pass.
async fn seconds(seconds: f64) {
    let end = tokio::time::Instant::now() + Duration::from_secs_f64(seconds);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep_until(end).await;
    }
}
