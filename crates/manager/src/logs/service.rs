//! The broker's two faces on the wire: one for clients, one for agents. Both reach whatever broker leads at the moment.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use swarm_api::*;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Broker;
use crate::authorize::{Audience, Gate};
use crate::quorum::Quorum;
use crate::refusal::{NO_LEADER, Refusal};
use crate::seat::Seats;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn broker(seats: &Seats) -> Result<Broker, Status> {
    let broker = seats.borrow().leading().map(|leading| leading.broker.clone());
    broker.ok_or_else(|| Status::unavailable(NO_LEADER))
}

/// For clients.
pub struct LogsService {
    seats: Seats,
    quorum: Quorum,
    gate: Gate,
}

impl LogsService {
    /// Serves the broker that sits in `seats`; what clients name is looked up in what `quorum` knows to be the newest.
    pub fn new(seats: Seats, quorum: Quorum, gate: Gate) -> Self {
        Self { seats, quorum, gate }
    }
}

#[tonic::async_trait]
impl logs_server::Logs for LogsService {
    type SubscribeLogsStream = Answers<SubscribeLogsMessage>;

    async fn subscribe_logs(
        &self,
        request: Request<SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        self.gate.admit(&request, Audience::Operators)?;
        self.quorum.read_barrier().await.map_err(Refusal::Store)?;
        let messages = broker(&self.seats)?.subscribe(request.into_inner())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages).map(Ok))))
    }
}

/// For agents.
pub struct LogBrokerService {
    seats: Seats,
    gate: Gate,
}

impl LogBrokerService {
    /// Serves the broker that sits in `seats`.
    pub fn new(seats: Seats, gate: Gate) -> Self {
        Self { seats, gate }
    }
}

#[tonic::async_trait]
impl log_broker_server::LogBroker for LogBrokerService {
    type ListenSubscriptionsStream = Answers<SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        request: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let node_id = self.gate.admit_node(&request)?;
        let requests = broker(&self.seats)?.listen(&node_id);
        Ok(Response::new(Box::pin(ReceiverStream::new(requests).map(Ok))))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let node_id = self.gate.admit_node(&request)?;
        let broker = broker(&self.seats)?;
        let mut batches = request.into_inner();
        while let Some(batch) = batches.message().await? {
            if !broker.publish(&node_id, batch).await {
                break;
            }
        }
        Ok(Response::new(PublishLogsResponse {}))
    }
}
