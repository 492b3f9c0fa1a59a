//! The agents' side of the leader: sessions and liveness, assignments out, status reports in.
//!
//! It decides nothing about tasks: it tells nodes what was decided (`reconcile`) and writes down what they report. Its
//! state is the leader's own and dies with the term; agents that reach no manager go on with what they have. Mounted on
//! the managers' listener; the caller is known from its certificate.

mod affected;
mod content;
mod drain;
mod endpoint;
mod feed;
mod liveness;
mod progress;
mod register;
mod sent;
mod session;
mod status;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost_types::Timestamp;
use swarm_api::time::{to_nanos, to_proto};
use swarm_api::{
    AssignmentsMessage, AssignmentsRequest, AwaitDrainedRequest, AwaitDrainedResponse,
    HeartbeatRequest, HeartbeatResponse, NetworksAppliedRequest, NetworksAppliedResponse,
    SessionMessage, SessionRequest, Task, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
    dispatcher_server,
};
use swarm_ca::Caller;
use swarm_raft_store::{Store, StoreError, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::authorize::is_removed;
use crate::clock::Clock;
use crate::refusal::Refusal;
use register::Heard;
use session::{Session, Sessions};
use status::Report;

pub use content::{Key, assignments_of};

/// What an agent is told whose session is not the present one: it registers anew.
const INVALID: &str = "session invalid";

/// Agents wait for a shorter time; a caller that has gone is forgotten by then.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Why dispatching ended.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// This manager leads no more, or its store has failed.
    #[error("dispatch: {0}")]
    Store(#[source] StoreError),
    /// It was started twice.
    #[error("dispatch runs already")]
    Running,
}

/// The service. Cheap to clone; one per term of leadership.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
    intake: Arc<Mutex<Option<Intake>>>,
}

/// What [`Dispatcher::run`] consumes.
struct Intake {
    events: Subscription,
    reports: mpsc::Receiver<Report>,
}

struct Shared {
    store: Store,
    clock: Clock,
    term: CancellationToken,
    sessions: Sessions,
    streams: TaskTracker,
}

impl Dispatcher {
    /// A dispatcher for the term of leadership that `term` ends. It answers once [`Self::run`] runs.
    pub fn new(store: Store, term: CancellationToken) -> Dispatcher {
        Self::by(store, Clock::system(), term)
    }

    /// As [`Self::new`], by a clock of one's own.
    pub fn by(store: Store, clock: Clock, term: CancellationToken) -> Dispatcher {
        let (sender, reports) = mpsc::channel(status::MAX_REPORTS);
        let intake = Intake { events: store.subscribe(), reports };
        let (sessions, streams) = (Sessions::default(), TaskTracker::new());
        let shared = Arc::new(Shared { store, clock, term, sessions, streams });
        let intake = Arc::new(Mutex::new(Some(intake)));
        Dispatcher { shared, reports: sender, intake }
    }

    /// Watches over the sessions, feeds them and writes reports, until the term ends or the store refuses for good. All
    /// streams have ended when it returns.
    pub async fn run(self) -> Result<(), DispatchError> {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Intake { events, mut reports } = intake.ok_or(DispatchError::Running)?;
        let shared = &self.shared;
        let ended = tokio::select! {
            () = shared.term.cancelled() => Ok(()),
            ended = liveness::watch(shared) => ended,
            ended = status::write(shared, &mut reports) => ended,
            () = feed::feed(shared, events) => Ok(()),
        };
        shared.sessions.all().iter().for_each(|s| s.ended.cancel());
        shared.streams.close();
        shared.streams.wait().await;
        ended
    }

    fn session_of<T>(
        &self,
        request: &Request<T>,
        session_id: &str,
    ) -> Result<Arc<Session>, Status> {
        let node_id = node_of(request)?;
        let session = self.shared.sessions.find(&node_id, session_id);
        session.ok_or_else(|| Status::unavailable(INVALID))
    }

    fn check_owner(&self, node_id: &str, request: &UpdateTaskStatusRequest) -> Result<(), Status> {
        let view = self.shared.store.view();
        let foreign = request.updates.iter().find(|update| {
            view.get::<Task>(&update.task_id).is_some_and(|task| task.node_id != *node_id)
        });
        foreign.map_or(Ok(()), |update| {
            let text = format!("task {} is not assigned to node {node_id}", update.task_id);
            Err(Refusal::Denied(text).into())
        })
    }
}

/// The calling node.
fn node_of<T>(request: &Request<T>) -> Result<String, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Node { node_id, .. }) => Ok(node_id.clone()),
        _ => Err(Refusal::Denied("only nodes of the cluster have sessions".into()).into()),
    }
}

#[tonic::async_trait]
impl dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = ReceiverStream<Result<SessionMessage, Status>>;
    type AssignmentsStream = ReceiverStream<Result<AssignmentsMessage, Status>>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node_id = node_of(&request)?;
        let shared = &self.shared;
        if is_removed(&shared.store.view(), &node_id) {
            let text = format!("node {node_id} was removed from the swarm");
            return Err(Refusal::Denied(text).into());
        }
        let remote = request.remote_addr().map_or_else(String::new, |a| a.ip().to_string());
        let description = request.into_inner().description;
        let grace = liveness::grace(&shared.store.view());
        // Before it registers: nobody then declares it silent over its own word that it is ready.
        let session = shared.sessions.open(&node_id, &shared.term, grace);
        let registered = register::register(shared, &node_id, description.as_ref(), &remote).await;
        if let Err(refusal) = registered {
            shared.sessions.close(&session);
            return Err(refusal.into());
        }
        session.extend(grace);
        let (sender, receiver) = mpsc::channel(stream::DEPTH);
        shared.streams.spawn(stream::session(Arc::clone(shared), session, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let session = self.session_of(&request, &request.get_ref().session_id)?;
        let view = self.shared.store.view();
        session.extend(liveness::grace(&view));
        register::revive(&self.shared, &session).await?;
        let request = request.into_inner();
        let ahead = |sent: Timestamp| (to_nanos(&sent) - self.shared.clock.now_nanos()) / 1_000_000;
        let heard = Heard { tls: request.tls, skew_ms: request.sent_at.map(ahead) };
        register::note(&self.shared, &session, &heard).await?;
        let period = Some(to_proto(liveness::period(&view)));
        Ok(Response::new(HeartbeatResponse { period }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        let session = self.session_of(&request, &request.get_ref().session_id)?;
        self.check_owner(&session.node_id, request.get_ref())?;
        let (done, written) = oneshot::channel();
        let node_id = session.node_id.clone();
        let report = Report { node_id, updates: request.into_inner().updates, done };
        let over = || Status::from(Refusal::Unavailable("the leader's term has ended".into()));
        self.reports.send(report).await.map_err(|_| over())?;
        written.await.map_err(|_| over())?.map_err(Refusal::Store)?;
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let session = self.session_of(&request, &request.get_ref().session_id)?;
        let (sender, receiver) = mpsc::channel(stream::DEPTH);
        let shared = &self.shared;
        shared.streams.spawn(stream::assignments(Arc::clone(shared), session, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn networks_applied(
        &self,
        request: Request<NetworksAppliedRequest>,
    ) -> Result<Response<NetworksAppliedResponse>, Status> {
        let session = self.session_of(&request, &request.get_ref().session_id)?;
        session.applied(request.into_inner().version);
        Ok(Response::new(NetworksAppliedResponse {}))
    }

    async fn await_drained(
        &self,
        request: Request<AwaitDrainedRequest>,
    ) -> Result<Response<AwaitDrainedResponse>, Status> {
        let session = self.session_of(&request, &request.get_ref().session_id)?;
        tokio::select! {
            () = drain::drained(&self.shared, request.get_ref()) => {}
            () = session.ended.cancelled() => return Err(Status::unavailable(INVALID)),
            () = tokio::time::sleep(DRAIN_MAX) => {
                return Err(Status::deadline_exceeded("not every node has answered"));
            }
        }
        Ok(Response::new(AwaitDrainedResponse {}))
    }
}

#[cfg(test)]
mod tests;
