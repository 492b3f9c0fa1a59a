//! Raft between managers: the transport that carries the replica's calls to its peers, and the service that answers
//! theirs. Bodies are opaque. Only a manager's certificate may call.
//!
//! Who is a member is decided in `membership`.

use std::pin::Pin;
use std::task::{Context, Poll};

use swarm_api::raft_client::RaftClient;
use swarm_api::{RaftEnvelope, raft_server};
use swarm_ca::Caller;
use swarm_raft_store::{
    CHUNK_BYTES, ChunkStream, Member, RaftRpc, Replica, Transport, TransportError,
};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::authorize::{Audience, Gate};
use crate::obstacle::{Call, Contacts};
use crate::peers::Peers;
use crate::whereabouts::cause;

/// Largest message between managers: a chunk with its frame, or a batch of log entries.
pub const MAX_MESSAGE: usize = if CHUNK_BYTES > (16 << 20) { 2 * CHUNK_BYTES } else { 32 << 20 };

/// Carries the replica's calls over mutually authenticated gRPC.
pub struct PeerTransport {
    peers: Peers,
    contacts: Contacts,
}

type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

impl PeerTransport {
    /// Its connections are its own: snapshots and heartbeats do not queue behind clients' requests.
    pub fn new(peers: Peers, contacts: Contacts) -> Self {
        Self { peers, contacts }
    }

    /// What the call came to, also for those who ask why there is no leader.
    fn outcome(
        call: Call,
        answer: Result<Response<RaftEnvelope>, Status>,
    ) -> Result<Vec<u8>, TransportError> {
        let status = match answer {
            Ok(answer) => {
                call.answered();
                return Ok(answer.into_inner().body);
            }
            Err(status) => status,
        };
        let reason = cause(&status);
        let addr = call.failed(&reason);
        Err(match status.code() {
            tonic::Code::Unavailable => TransportError::Unreachable { addr, reason },
            _ => TransportError::Failed { addr, reason },
        })
    }

    fn client(&self, target: &Member) -> Result<RaftClient<Channel>, TransportError> {
        let channel = self.peers.channel(target).map_err(|error| TransportError::Unreachable {
            addr: target.addr.clone(),
            reason: error.to_string(),
        })?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE))
    }
}

impl Transport for PeerTransport {
    fn call<'a>(&'a self, target: &'a Member, rpc: RaftRpc, body: Vec<u8>) -> Carried<'a> {
        Box::pin(async move {
            let mut client = self.client(target)?;
            let call = self.contacts.call(&target.node_id, self.peers.address(target));
            let envelope = RaftEnvelope { body };
            let answer = match rpc {
                RaftRpc::Append => client.append(envelope).await,
                RaftRpc::Vote => client.vote(envelope).await,
                RaftRpc::TransferLeader => client.transfer_leader(envelope).await,
            };
            Self::outcome(call, answer)
        })
    }

    fn install_snapshot<'a>(&'a self, target: &'a Member, chunks: ChunkStream) -> Carried<'a> {
        Box::pin(async move {
            let mut client = self.client(target)?;
            let call = self.contacts.call(&target.node_id, self.peers.address(target));
            let answer = client.install_snapshot(Envelopes(chunks)).await;
            Self::outcome(call, answer)
        })
    }
}

/// A snapshot as it goes over the wire. A chunk that cannot be read ends the stream: the receiver misses the end and refuses
/// the snapshot.
struct Envelopes(ChunkStream);

impl Stream for Envelopes {
    type Item = RaftEnvelope;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RaftEnvelope>> {
        let chunk = self.0.as_mut().poll_next(cx);
        chunk.map(|chunk| chunk?.ok().map(|body| RaftEnvelope { body }))
    }
}

/// Answers the other managers' calls.
pub struct RaftService {
    replica: Replica,
    gate: Gate,
}

impl RaftService {
    /// Passes what the gate admits to `replica`.
    pub fn new(replica: Replica, gate: Gate) -> Self {
        Self { replica, gate }
    }

    /// The node that calls: it may speak for its own replica only.
    fn sender<T>(&self, request: &Request<T>) -> Result<String, Status> {
        match self.gate.admit(request, Audience::Peers)? {
            Caller::Node { node_id, .. } => Ok(node_id),
            _ => Err(Status::permission_denied("this call needs a manager's certificate")),
        }
    }

    async fn answer(
        &self,
        request: Request<RaftEnvelope>,
        rpc: RaftRpc,
    ) -> Result<Response<RaftEnvelope>, Status> {
        let from = self.sender(&request)?;
        let body = self.replica.handle_from(&from, rpc, &request.into_inner().body).await;
        let body = body.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(RaftEnvelope { body }))
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append(
        &self,
        request: Request<RaftEnvelope>,
    ) -> Result<Response<RaftEnvelope>, Status> {
        self.answer(request, RaftRpc::Append).await
    }

    async fn vote(&self, request: Request<RaftEnvelope>) -> Result<Response<RaftEnvelope>, Status> {
        self.answer(request, RaftRpc::Vote).await
    }

    async fn transfer_leader(
        &self,
        request: Request<RaftEnvelope>,
    ) -> Result<Response<RaftEnvelope>, Status> {
        self.answer(request, RaftRpc::TransferLeader).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<RaftEnvelope>>,
    ) -> Result<Response<RaftEnvelope>, Status> {
        let from = self.sender(&request)?;
        let chunks = request.into_inner().map(|chunk| {
            chunk.map(|envelope| envelope.body).map_err(|status| TransportError::Failed {
                addr: "the sender of the snapshot".into(),
                reason: status.message().to_owned(),
            })
        });
        let body = self.replica.handle_snapshot_from(&from, Box::pin(chunks)).await;
        let body = body.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(RaftEnvelope { body }))
    }
}
