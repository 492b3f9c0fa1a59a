//! Calls to other replicas, over the [`Transport`] that the manager passes in.

use std::sync::Arc;
use std::time::Duration;

use openraft::RaftNetworkFactory;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message;

use super::machine::Frozen;
use super::snapshot::{chunks, count};
use super::wire::{
    self, AppendAnswer, AppendCall, Cover, SnapshotAnswer, SnapshotBegin, SnapshotEnd,
    SnapshotFrame, TransferAnswer, TransferCall, Undecodable, VoteAnswer, VoteCall,
};
use super::{Place, Snapshot, SnapshotMeta, Types, Vote};
use crate::ground::{Ground, Sink};
use crate::{Member, RaftRpc, Transport, TransportError};

/// A call that carries entries waits for the target's disk, so it gets more time than a heartbeat.
const ENTRIES_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes [`Peer`]s.
pub(crate) struct Peers(pub(crate) Arc<dyn Transport>, pub(crate) Ground);

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, place: &Place) -> Peer {
        let (transport, ground) = (Arc::clone(&self.0), self.1.clone());
        Peer { transport, ground, target: place.member(target) }
    }
}

/// One other replica.
pub(crate) struct Peer {
    transport: Arc<dyn Transport>,
    ground: Ground,
    target: Member,
}

type Rpc<T> = Result<T, RPCError<Types>>;

impl Peer {
    async fn call<M: Message + Default>(
        &self,
        rpc: RaftRpc,
        body: Vec<u8>,
        limit: Duration,
    ) -> Rpc<M> {
        let call = self.transport.call(&self.target, rpc, body);
        let answer = tokio::time::timeout(limit, call).await;
        let answer = answer.map_err(|_| self.late(limit))?.map_err(failed)?;
        wire::decode(&answer, "answer").map_err(undecodable)
    }

    fn late(&self, limit: Duration) -> RPCError<Types> {
        let text = format!("manager {} did not answer in {limit:?}", self.target.addr);
        RPCError::Network(NetworkError::from_string(text))
    }
}

fn failed(error: TransportError) -> RPCError<Types> {
    match error {
        TransportError::Unreachable { .. } => {
            RPCError::Unreachable(Unreachable::from_string(error))
        }
        TransportError::Failed { .. } => RPCError::Network(NetworkError::from_string(error)),
    }
}

fn undecodable(error: Undecodable) -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string(error))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Frozen;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let limit = match request.entries.is_empty() {
            true => option.hard_ttl(),
            false => option.hard_ttl().max(ENTRIES_TIMEOUT),
        };
        let body = AppendCall::new(self.target.raft_id, &request).encode_to_vec();
        let answer: AppendAnswer = self.call(RaftRpc::Append, body, limit).await?;
        answer.response().map_err(undecodable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        let body = VoteCall::new(self.target.raft_id, false, &request).encode_to_vec();
        let answer: VoteAnswer = self.call(RaftRpc::Vote, body, option.hard_ttl()).await?;
        answer.response().map_err(undecodable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        let body = VoteCall::new(self.target.raft_id, true, &request).encode_to_vec();
        let answer: VoteAnswer = self.call(RaftRpc::Vote, body, option.hard_ttl()).await?;
        answer.response().map_err(undecodable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let target = self.target.raft_id;
        let Snapshot { meta, snapshot } = snapshot;
        let send = move |frames: Sink<'_>| send_frames(frames, target, &vote, &meta, &snapshot);
        let stream = self.ground.stream(send);
        let limit = option.hard_ttl();
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = tokio::time::timeout(
                limit,
                self.transport.install_snapshot(&self.target, stream),
            ) => answer.map_err(|_| self.late(limit))?.map_err(failed)?,
        };
        let answer: SnapshotAnswer = wire::decode(&answer, "answer").map_err(undecodable)?;
        Ok(SnapshotResponse::new(wire::vote(answer.vote).map_err(undecodable)?))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let body = TransferCall::new(self.target.raft_id, &request).encode_to_vec();
        let answer: TransferAnswer =
            self.call(RaftRpc::TransferLeader, body, option.hard_ttl()).await?;
        answer.response().map_err(undecodable)
    }
}

/// Blocking: encoding a large store takes a while. Stops when the receiver is gone.
fn send_frames(frames: Sink<'_>, target: u64, vote: &Vote, meta: &SnapshotMeta, frozen: &Frozen) {
    let cover = Some(Cover::new(meta, frozen.0.version));
    let begin = Some(SnapshotBegin { target, vote: Some(vote.into()), cover });
    let first = SnapshotFrame { begin, ..SnapshotFrame::default() };
    let end = Some(SnapshotEnd { items: count(&frozen.0) });
    let last = SnapshotFrame { end, ..SnapshotFrame::default() };
    let data = chunks(&frozen.0).map(|data| {
        let checksum = crc32fast::hash(&data);
        SnapshotFrame { data, checksum, ..SnapshotFrame::default() }
    });
    for frame in std::iter::once(first).chain(data).chain(std::iter::once(last)) {
        if !frames(frame.encode_to_vec()) {
            return;
        }
    }
}
