//! The form of log records, calls between replicas and snapshots: protobuf messages, private to
//! this crate.
//!
//! Fields are only ever added: an older replica skips what it does not know.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use openraft::vote::leader_id_std::CommittedLeaderId;
use prost::Message;
use prost::bytes::Bytes;
use swarm_api::{Object, RaftMember};

use super::{
    Command, Entry, LogId, Membership, Place, SnapshotMeta, StoredMembership, Types, Vote,
};

/// A body that does not decode: its sender speaks another version, or it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("undecodable {0}")]
pub(crate) struct Undecodable(pub(crate) &'static str);

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Position {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ballot {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Group {
    #[prost(message, repeated, tag = "1")]
    pub(crate) configs: Vec<VoterSet>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) members: Vec<RaftMember>,
}

/// A log entry; neither command nor group: a leader's blank.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) position: Option<Position>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    pub(crate) group: Option<Group>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendCall {
    #[prost(uint64, tag = "1")]
    pub(crate) target: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) vote: Option<Ballot>,
    #[prost(message, optional, tag = "3")]
    pub(crate) previous: Option<Position>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) entries: Vec<EntryRecord>,
    #[prost(message, optional, tag = "5")]
    pub(crate) committed: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct AppendAnswer {
    /// 0 success, 1 partial success, 2 conflict, 3 higher vote.
    #[prost(uint32, tag = "1")]
    pub(crate) outcome: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) matched: Option<Position>,
    #[prost(message, optional, tag = "3")]
    pub(crate) vote: Option<Ballot>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteCall {
    #[prost(uint64, tag = "1")]
    pub(crate) target: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) vote: Option<Ballot>,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<Position>,
    #[prost(bool, tag = "4")]
    pub(crate) transfer: bool,
    /// Asks whether a vote would be given, without giving it.
    #[prost(bool, tag = "5")]
    pub(crate) pre: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Ballot>,
    #[prost(bool, tag = "2")]
    pub(crate) granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TransferCall {
    #[prost(uint64, tag = "1")]
    pub(crate) target: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) from: Option<Ballot>,
    #[prost(uint64, tag = "3")]
    pub(crate) to: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) last: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TransferAnswer {
    /// 0 accepted, 1 vote changed, 2 log not flushed.
    #[prost(uint32, tag = "1")]
    pub(crate) outcome: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) expected_vote: Option<Ballot>,
    #[prost(message, optional, tag = "3")]
    pub(crate) actual_vote: Option<Ballot>,
    #[prost(message, optional, tag = "4")]
    pub(crate) expected_last: Option<Position>,
    #[prost(message, optional, tag = "5")]
    pub(crate) actual_last: Option<Position>,
}

/// What a snapshot covers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cover {
    #[prost(message, optional, tag = "1")]
    pub(crate) last: Option<Position>,
    #[prost(message, optional, tag = "2")]
    pub(crate) group_at: Option<Position>,
    #[prost(message, optional, tag = "3")]
    pub(crate) group: Option<Group>,
    /// Version of the tables.
    #[prost(uint64, tag = "4")]
    pub(crate) version: u64,
}

/// One frame of a snapshot on its way: first a beginning, then data, last an end.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotFrame {
    #[prost(message, optional, tag = "1")]
    pub(crate) begin: Option<SnapshotBegin>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) checksum: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) end: Option<SnapshotEnd>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotBegin {
    #[prost(uint64, tag = "1")]
    pub(crate) target: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) vote: Option<Ballot>,
    #[prost(message, optional, tag = "3")]
    pub(crate) cover: Option<Cover>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct SnapshotEnd {
    #[prost(uint64, tag = "1")]
    pub(crate) items: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct SnapshotAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Ballot>,
}

/// One thing in a snapshot.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(message, optional, tag = "1")]
    pub(crate) object: Option<Object>,
    #[prost(message, optional, tag = "2")]
    pub(crate) request: Option<Request>,
}

/// A request that was applied.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(uint64, tag = "2")]
    pub(crate) version: u64,
}

/// Whose log this is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Identity {
    #[prost(uint64, tag = "1")]
    pub(crate) raft_id: u64,
    #[prost(string, tag = "2")]
    pub(crate) node_id: String,
}

impl From<&LogId> for Position {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        LogId::new(CommittedLeaderId::new(position.term), position.index)
    }
}

impl From<&Vote> for Ballot {
    fn from(vote: &Vote) -> Self {
        let leader = &vote.leader_id;
        Self { term: leader.term(), node: *leader.node_id(), committed: vote.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(ballot: Ballot) -> Self {
        match ballot.committed {
            true => Vote::new_committed(ballot.term, ballot.node),
            false => Vote::new(ballot.term, ballot.node),
        }
    }
}

impl From<&Membership> for Group {
    fn from(membership: &Membership) -> Self {
        let configs = membership.get_joint_config().iter();
        let members = membership.nodes().map(|(id, member)| RaftMember {
            raft_id: *id,
            node_id: member.node_id.clone(),
            addr: member.addr.clone(),
        });
        Self {
            configs: configs.map(|c| VoterSet { ids: c.iter().copied().collect() }).collect(),
            members: members.collect(),
        }
    }
}

impl Group {
    fn membership(self) -> Result<Membership, Undecodable> {
        let configs = self.configs.into_iter().map(|c| BTreeSet::from_iter(c.ids)).collect();
        let members = self.members.into_iter();
        let members = members.map(|m| (m.raft_id, Place { node_id: m.node_id, addr: m.addr }));
        let members: BTreeMap<u64, Place> = members.collect();
        Membership::new(configs, members).map_err(|_| Undecodable("membership"))
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let position = Some(Position::from(&entry.log_id));
        match &entry.payload {
            EntryPayload::Blank => Self { position, ..Self::default() },
            EntryPayload::Normal(command) => {
                Self { position, command: Some(command.0.clone()), group: None }
            }
            EntryPayload::Membership(membership) => {
                Self { position, command: None, group: Some(membership.into()) }
            }
        }
    }
}

impl EntryRecord {
    pub(crate) fn entry(self) -> Result<Entry, Undecodable> {
        let log_id = self.position.ok_or(Undecodable("log entry"))?.into();
        let payload = match (self.command, self.group) {
            (None, None) => EntryPayload::Blank,
            (Some(command), None) => EntryPayload::Normal(Command(command)),
            (None, Some(group)) => EntryPayload::Membership(group.membership()?),
            (Some(_), Some(_)) => return Err(Undecodable("log entry")),
        };
        Ok(Entry { log_id, payload })
    }
}

impl Cover {
    pub(crate) fn new(meta: &SnapshotMeta, version: u64) -> Self {
        Self {
            last: meta.last_log_id.as_ref().map(Position::from),
            group_at: meta.last_membership.log_id().as_ref().map(Position::from),
            group: Some(meta.last_membership.membership().into()),
            version,
        }
    }

    pub(crate) fn meta(self) -> Result<SnapshotMeta, Undecodable> {
        let group = self.group.ok_or(Undecodable("snapshot"))?;
        // A store that has no membership yet has none to check.
        let membership = match group.configs.is_empty() {
            true => Membership::default(),
            false => group.membership()?,
        };
        let last_membership = StoredMembership::new(self.group_at.map(Into::into), membership);
        Ok(SnapshotMeta { last_log_id: self.last.map(Into::into), last_membership })
    }
}

/// Decodes a body; `what` names it in the error.
pub(crate) fn decode<M: Message + Default>(
    body: &[u8],
    what: &'static str,
) -> Result<M, Undecodable> {
    M::decode(body).map_err(|_| Undecodable(what))
}

/// The vote that every call carries.
pub(crate) fn vote(ballot: Option<Ballot>) -> Result<Vote, Undecodable> {
    ballot.map(Vote::from).ok_or(Undecodable("vote"))
}

impl AppendCall {
    pub(crate) fn new(target: u64, request: &AppendEntriesRequest<Types>) -> Self {
        Self {
            target,
            vote: Some((&request.vote).into()),
            previous: request.prev_log_id.as_ref().map(Into::into),
            entries: request.entries.iter().map(Into::into).collect(),
            committed: request.leader_commit.as_ref().map(Into::into),
        }
    }

    pub(crate) fn request(self) -> Result<AppendEntriesRequest<Types>, Undecodable> {
        let entries: Result<_, _> = self.entries.into_iter().map(EntryRecord::entry).collect();
        Ok(AppendEntriesRequest {
            vote: vote(self.vote)?,
            prev_log_id: self.previous.map(Into::into),
            entries: entries?,
            leader_commit: self.committed.map(Into::into),
        })
    }
}

impl From<AppendEntriesResponse<Types>> for AppendAnswer {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        use AppendEntriesResponse::{Conflict, HigherVote, PartialSuccess, Success};
        match response {
            Success => Self::default(),
            PartialSuccess(matched) => {
                Self { outcome: 1, matched: matched.as_ref().map(Into::into), vote: None }
            }
            Conflict => Self { outcome: 2, ..Self::default() },
            HigherVote(vote) => Self { outcome: 3, matched: None, vote: Some((&vote).into()) },
        }
    }
}

impl AppendAnswer {
    pub(crate) fn response(self) -> Result<AppendEntriesResponse<Types>, Undecodable> {
        Ok(match self.outcome {
            0 => AppendEntriesResponse::Success,
            1 => AppendEntriesResponse::PartialSuccess(self.matched.map(Into::into)),
            2 => AppendEntriesResponse::Conflict,
            3 => AppendEntriesResponse::HigherVote(vote(self.vote)?),
            _ => return Err(Undecodable("answer to append")),
        })
    }
}

impl VoteCall {
    pub(crate) fn new(target: u64, pre: bool, request: &VoteRequest<Types>) -> Self {
        Self {
            target,
            vote: Some((&request.vote).into()),
            last: request.last_log_id.as_ref().map(Into::into),
            transfer: request.leadership_transfer,
            pre,
        }
    }

    pub(crate) fn request(self) -> Result<VoteRequest<Types>, Undecodable> {
        let mut request = VoteRequest::new(vote(self.vote)?, self.last.map(Into::into));
        request.leadership_transfer = self.transfer;
        Ok(request)
    }
}

impl From<VoteResponse<Types>> for VoteAnswer {
    fn from(response: VoteResponse<Types>) -> Self {
        Self {
            vote: Some((&response.vote).into()),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(Into::into),
        }
    }
}

impl VoteAnswer {
    pub(crate) fn response(self) -> Result<VoteResponse<Types>, Undecodable> {
        Ok(VoteResponse::new(vote(self.vote)?, self.last.map(Into::into), self.granted))
    }
}

impl TransferCall {
    pub(crate) fn new(target: u64, request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            target,
            from: Some(request.from_leader().into()),
            to: *request.to_node_id(),
            last: request.last_log_id().map(Into::into),
        }
    }

    pub(crate) fn request(self) -> Result<TransferLeaderRequest<Types>, Undecodable> {
        Ok(TransferLeaderRequest::new(vote(self.from)?, self.to, self.last.map(Into::into)))
    }
}

impl From<TransferLeaderResponse<Types>> for TransferAnswer {
    fn from(response: TransferLeaderResponse<Types>) -> Self {
        match response {
            Ok(()) => Self::default(),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => Self {
                outcome: 1,
                expected_vote: Some((&expected).into()),
                actual_vote: Some((&actual).into()),
                ..Self::default()
            },
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Self {
                outcome: 2,
                expected_last: expected.as_ref().map(Into::into),
                actual_last: actual.as_ref().map(Into::into),
                ..Self::default()
            },
        }
    }
}

impl TransferAnswer {
    pub(crate) fn response(self) -> Result<TransferLeaderResponse<Types>, Undecodable> {
        Ok(match self.outcome {
            0 => Ok(()),
            1 => Err(TransferLeaderError::VoteChanged {
                expected: vote(self.expected_vote)?,
                actual: vote(self.actual_vote)?,
            }),
            2 => Err(TransferLeaderError::LogNotFlushed {
                expected: self.expected_last.map(Into::into),
                actual: self.actual_last.map(Into::into),
            }),
            _ => return Err(Undecodable("answer to transfer")),
        })
    }
}
