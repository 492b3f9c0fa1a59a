//! Lets replicas in and out, on the leader.

use swarm_api::*;
use swarm_ca::Caller;
use swarm_raft_store::{Member, Store};
use tonic::{Request, Response, Status};

use super::{leaving, note, take_role};
use crate::authorize::{Audience, Gate};
use crate::clock::Clock;
use crate::quorum::{Quorum, may_leave};
use crate::refusal::Refusal;

/// The membership service.
pub struct MembershipService {
    store: Store,
    quorum: Quorum,
    clock: Clock,
    gate: Gate,
}

impl MembershipService {
    /// Changes the membership of `quorum`.
    pub fn new(store: Store, quorum: Quorum, clock: Clock, gate: Gate) -> Self {
        Self { store, quorum, clock, gate }
    }

    async fn join(
        &self,
        node_id: &str,
        request: RaftJoinRequest,
    ) -> Result<RaftJoinResponse, Refusal> {
        self.quorum.read_barrier().await?;
        let wants_manager = |n: &Node| {
            n.role() == NodeRole::Manager
                && n.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Manager)
        };
        if !self.store.view().get::<Node>(node_id).is_some_and(wants_manager) {
            return Err(Refusal::Denied(format!(
                "node {node_id} is not a manager of this swarm: promote it first"
            )));
        }
        if request.raft_id == 0 || request.addr.is_empty() {
            return Err(Refusal::Invalid(
                "a joining manager needs a raft id and an address".into(),
            ));
        }
        let member =
            Member { raft_id: request.raft_id, node_id: node_id.into(), addr: request.addr };
        // A replica that lost its log comes back under a new raft id: its old self goes first.
        self.quorum.add(member.clone()).await?;
        note(&self.store, &self.clock, std::slice::from_ref(&member)).await?;
        let members = self.quorum.members().into_iter().map(|m| RaftMember {
            raft_id: m.member.raft_id,
            node_id: m.member.node_id,
            addr: m.member.addr,
        });
        Ok(RaftJoinResponse { raft_id: member.raft_id, members: members.collect() })
    }

    async fn leave(&self, node_id: &str) -> Result<(), Refusal> {
        self.quorum.read_barrier().await?;
        let members = self.quorum.members();
        may_leave(&members, node_id, &leaving(&self.store.view()))?;
        // First the wish: a replica that finds itself taken out asks to be let in, and is not if its node is to be a worker.
        self.change(node_id, |_| {}).await?;
        if members.iter().any(|m| m.is_leader && m.member.node_id == node_id) {
            self.quorum.hand_over().await?;
            return Err(Refusal::Unavailable(
                "the leading manager has handed over leadership: ask again".into(),
            ));
        }
        self.quorum.remove(node_id).await?;
        self.change(node_id, |node| take_role(node, NodeRole::Worker)).await
    }

    /// Makes the node one that is to be a worker, and more of it.
    async fn change(&self, node_id: &str, more: impl Fn(&mut Node)) -> Result<(), Refusal> {
        self.store
            .transact(self.clock.now_nanos(), |tx| {
                let Some(mut node) = tx.view().get::<Node>(node_id).cloned() else {
                    return Ok(());
                };
                more(&mut node);
                node.spec.get_or_insert_default().set_desired_role(NodeRole::Worker);
                Ok(tx.update(node)?)
            })
            .await
    }
}

#[tonic::async_trait]
impl raft_membership_server::RaftMembership for MembershipService {
    async fn join(
        &self,
        request: Request<RaftJoinRequest>,
    ) -> Result<Response<RaftJoinResponse>, Status> {
        // By certificate alone: the joiner has just been promoted. `join` looks at the newest state.
        match self.gate.admit(&request, Audience::Peers)? {
            Caller::Node { node_id, .. } => {
                Ok(Response::new(Self::join(self, &node_id, request.into_inner()).await?))
            }
            _ => Err(Status::permission_denied("only a manager can join the managers")),
        }
    }

    async fn leave(
        &self,
        request: Request<RaftLeaveRequest>,
    ) -> Result<Response<RaftLeaveResponse>, Status> {
        let caller = self.gate.admit(&request, Audience::Operators)?;
        let node_id = match (request.into_inner().node_id, caller) {
            (named, _) if !named.is_empty() => named,
            (_, Caller::Node { node_id, .. }) => node_id,
            _ => return Err(Status::invalid_argument("name the node that leaves")),
        };
        Self::leave(self, &node_id).await?;
        Ok(Response::new(RaftLeaveResponse {}))
    }
}
