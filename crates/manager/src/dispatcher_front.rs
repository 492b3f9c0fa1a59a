//! The dispatcher's place on the wire: authorises each call, then hands it to whatever dispatcher leads at the moment.
//!
//! What the calls do is `dispatch`'s.

use swarm_api::*;
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate};
use crate::dispatch::Dispatcher;
use crate::refusal::NO_LEADER;
use crate::seat::Seats;
use dispatcher_server::Dispatcher as Calls;

/// The dispatcher service of a manager.
pub struct DispatcherService {
    seats: Seats,
    gate: Gate,
}

impl DispatcherService {
    /// Serves the dispatcher that sits in `seats`, for whom `gate` admits.
    pub fn new(seats: Seats, gate: Gate) -> Self {
        Self { seats, gate }
    }

    fn present<T>(&self, request: &Request<T>) -> Result<Dispatcher, Status> {
        self.gate.admit(request, Audience::Nodes)?;
        let seat = self.seats.borrow();
        let dispatcher = seat.leading().map(|leading| leading.dispatcher.clone());
        dispatcher.ok_or_else(|| Status::unavailable(NO_LEADER))
    }
}

#[tonic::async_trait]
impl Calls for DispatcherService {
    type SessionStream = <Dispatcher as Calls>::SessionStream;
    type AssignmentsStream = <Dispatcher as Calls>::AssignmentsStream;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.present(&request)?.session(request).await
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        self.present(&request)?.heartbeat(request).await
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        self.present(&request)?.update_task_status(request).await
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        self.present(&request)?.assignments(request).await
    }

    async fn networks_applied(
        &self,
        request: Request<NetworksAppliedRequest>,
    ) -> Result<Response<NetworksAppliedResponse>, Status> {
        self.present(&request)?.networks_applied(request).await
    }

    async fn await_drained(
        &self,
        request: Request<AwaitDrainedRequest>,
    ) -> Result<Response<AwaitDrainedResponse>, Status> {
        self.present(&request)?.await_drained(request).await
    }
}
