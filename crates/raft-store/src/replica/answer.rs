//! Answers the other members' calls. What they carry was authenticated by the transport; that they
//! are meant for this replica is checked here.

use prost::Message;
use tokio_stream::StreamExt;

use super::{Replica, gone};
use crate::consensus::Consensus;
use crate::raft::Snapshot;
use crate::raft::machine::Frozen;
use crate::raft::snapshot::Assembly;
use crate::raft::wire::{
    self, AppendAnswer, AppendCall, Ballot, SnapshotAnswer, SnapshotFrame, TransferAnswer,
    TransferCall, Undecodable, VoteAnswer, VoteCall,
};
use crate::{ChunkStream, RaftRpc, StoreError};

impl From<Undecodable> for StoreError {
    fn from(error: Undecodable) -> Self {
        StoreError::Refused(format!("{error} from another manager: is it of another version?"))
    }
}

impl Replica {
    /// Answers a call of another member, whoever that is: for transports that know no senders.
    pub async fn handle(&self, rpc: RaftRpc, body: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.answer(None, rpc, body).await
    }

    /// Answers a call that the transport knows to come from the node `from`: it speaks for its own
    /// replica only, and not after that was taken out of the group.
    pub async fn handle_from(
        &self,
        from: &str,
        rpc: RaftRpc,
        body: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.answer(Some(from), rpc, body).await
    }

    async fn answer(
        &self,
        from: Option<&str>,
        rpc: RaftRpc,
        body: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        match rpc {
            RaftRpc::Append => {
                let call: AppendCall = wire::decode(body, "append")?;
                let consensus = self.addressed(call.target)?;
                self.check_sender(from, call.vote)?;
                let response = consensus.raft.append_entries(call.request()?).await;
                Ok(AppendAnswer::from(response.map_err(gone)?).encode_to_vec())
            }
            RaftRpc::Vote => {
                let call: VoteCall = wire::decode(body, "vote")?;
                let consensus = self.addressed(call.target)?;
                self.check_sender(from, call.vote)?;
                let (pre, request) = (call.pre, call.request()?);
                let response = match pre {
                    true => consensus.raft.pre_vote(request).await,
                    false => consensus.raft.vote(request).await,
                };
                Ok(VoteAnswer::from(response.map_err(gone)?).encode_to_vec())
            }
            RaftRpc::TransferLeader => {
                let call: TransferCall = wire::decode(body, "transfer")?;
                let consensus = self.addressed(call.target)?;
                self.check_sender(from, call.from)?;
                let response = consensus.raft.handle_transfer_leader(call.request()?).await;
                Ok(TransferAnswer::from(response.map_err(gone)?).encode_to_vec())
            }
        }
    }

    /// Takes in a snapshot from the leader. It is installed only if all of it arrived whole.
    pub async fn handle_snapshot(&self, chunks: ChunkStream) -> Result<Vec<u8>, StoreError> {
        self.take_snapshot(None, chunks).await
    }

    /// As [`Self::handle_snapshot`], from a known sender: see [`Self::handle_from`].
    pub async fn handle_snapshot_from(
        &self,
        from: &str,
        chunks: ChunkStream,
    ) -> Result<Vec<u8>, StoreError> {
        self.take_snapshot(Some(from), chunks).await
    }

    async fn take_snapshot(
        &self,
        from: Option<&str>,
        mut chunks: ChunkStream,
    ) -> Result<Vec<u8>, StoreError> {
        let cut = || StoreError::Refused("the snapshot ended before its end".to_owned());
        let first = next(&mut chunks).await?.and_then(|frame| frame.begin).ok_or_else(cut)?;
        let consensus = self.addressed(first.target)?;
        self.check_sender(from, first.vote)?;
        let vote = wire::vote(first.vote)?;
        let cover = first.cover.ok_or(Undecodable("snapshot"))?;
        let version = cover.version;
        let meta = cover.meta()?;
        let mut assembly = Assembly::default();
        let end = loop {
            let frame = next(&mut chunks).await?.ok_or_else(cut)?;
            if let Some(end) = frame.end {
                break end;
            }
            if crc32fast::hash(&frame.data) != frame.checksum {
                return Err(StoreError::Refused("the snapshot was damaged on its way".to_owned()));
            }
            assembly.add(&frame.data)?;
        };
        let snapshot = Frozen(assembly.finish(version, end)?.into());
        let installed = consensus.raft.install_full_snapshot(vote, Snapshot { meta, snapshot });
        let vote = Some(Ballot::from(&installed.await.map_err(gone)?.vote));
        Ok(SnapshotAnswer { vote }.encode_to_vec())
    }

    /// A replica that is not known here may be a new one: this replica may lag. One that is known
    /// must be on the node that calls, and one that was taken out has nothing to say.
    fn check_sender(&self, from: Option<&str>, vote: Option<Ballot>) -> Result<(), StoreError> {
        let (Some(from), Some(vote)) = (from, vote) else { return Ok(()) };
        let group = self.0.group.borrow();
        match group.iter().find(|m| m.raft_id == vote.node) {
            Some(member) if member.node_id == from => Ok(()),
            Some(member) => Err(StoreError::Refused(format!(
                "node {from} spoke in the name of manager {}",
                member.node_id
            ))),
            None if self.0.departed.has(vote.node) => {
                Err(StoreError::Refused(format!("node {from} was taken out of the managers")))
            }
            None => Ok(()),
        }
    }

    fn addressed(&self, target: u64) -> Result<&Consensus, StoreError> {
        match self.0.consensus.get() {
            Some(consensus) if consensus.raft_id == target => Ok(consensus),
            // A manager that lost its log has a new id: what was promised under the old one must
            // not be answered.
            Some(consensus) => Err(StoreError::Refused(format!(
                "a call for raft id {target:016x} reached manager {} with raft id {:016x}",
                self.0.config.node_id, consensus.raft_id
            ))),
            None => Err(StoreError::Refused(format!(
                "manager {} has not joined a cluster yet",
                self.0.config.node_id
            ))),
        }
    }
}

async fn next(chunks: &mut ChunkStream) -> Result<Option<SnapshotFrame>, StoreError> {
    let Some(chunk) = chunks.next().await else { return Ok(None) };
    let chunk = chunk.map_err(|e| StoreError::Refused(format!("the snapshot broke off: {e}")))?;
    Ok(Some(wire::decode(&chunk, "snapshot")?))
}
