//! This manager's place among the managers: read barriers, members, and the arithmetic of who may leave.
//!
//! It decides nothing about roles (see `membership`) and stores nothing. A standalone store has no peers, which lets every
//! service be tested without Raft.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use swarm_api::{ManagerStatus, Reachability};
use swarm_raft_store::{Member, MemberState, Replica, StoreError};

use crate::refusal::Refusal;

/// The managers as this one sees them.
#[derive(Clone)]
pub enum Quorum {
    /// No replication: always the leader, never a peer.
    Standalone,
    /// Replicated through Raft.
    Replicated(Replica),
}

impl Quorum {
    /// After it, the store's view shows every write acknowledged before it was called.
    pub async fn read_barrier(&self) -> Result<(), StoreError> {
        match self {
            Self::Standalone => Ok(()),
            Self::Replicated(replica) => replica.read_barrier().await,
        }
    }

    /// Removes the member on this node, if there is one. Leader only.
    pub async fn remove(&self, node_id: &str) -> Result<(), StoreError> {
        let Self::Replicated(replica) = self else { return Ok(()) };
        if !replica.members().iter().any(|m| m.member.node_id == node_id) {
            return Ok(());
        }
        let (replica, node_id) = (replica.clone(), node_id.to_owned());
        let runtime = tokio::runtime::Handle::current();
        // On a thread of its own: the compiler cannot prove that this future may move between threads.
        let removal = move || runtime.block_on(replica.remove_member(&node_id));
        let died = |e: tokio::task::JoinError| StoreError::Fatal(format!("removing a member: {e}"));
        tokio::task::spawn_blocking(removal).await.map_err(died)?
    }

    /// Adds a member, or gives it its new address. One that lost its log comes back under a new raft id: its old self goes
    /// first. Leader only.
    pub async fn add(&self, member: Member) -> Result<(), StoreError> {
        let Self::Replicated(replica) = self else { return Ok(()) };
        let addition: BoxFuture<'_, _> = Box::pin(replica.add_member(member));
        addition.await
    }

    /// Hands leadership to another manager; does nothing when standalone. Leader only.
    pub async fn hand_over(&self) -> Result<(), StoreError> {
        let Self::Replicated(replica) = self else { return Ok(()) };
        let transfer: BoxFuture<'_, _> = Box::pin(replica.transfer_leadership());
        transfer.await
    }

    /// Members as the leader sees them; empty when standalone.
    pub fn members(&self) -> Vec<MemberState> {
        match self {
            Self::Standalone => Vec::new(),
            Self::Replicated(replica) => replica.members(),
        }
    }

    /// Manager status by node id, for answers to clients.
    pub fn statuses(&self) -> BTreeMap<String, ManagerStatus> {
        self.members().into_iter().map(|m| (m.member.node_id.clone(), status_of(m))).collect()
    }
}

/// How many of so many managers may be lost while the others still are a majority.
pub fn tolerated_failures(managers: usize) -> usize {
    managers.saturating_sub(1) / 2
}

fn status_of(state: MemberState) -> ManagerStatus {
    let reachability = match state.reachable || state.is_leader {
        // It is let in, but nothing may count on it yet.
        _ if !state.voter => Reachability::Unknown,
        true => Reachability::Reachable,
        false => Reachability::Unreachable,
    };
    ManagerStatus {
        raft_id: state.member.raft_id,
        addr: state.member.addr,
        leader: state.is_leader,
        reachability: reachability.into(),
    }
}

/// Whether `node_id` may leave: refuses the last manager, and what would leave fewer reachable managers than a majority.
pub fn may_leave(members: &[MemberState], node_id: &str) -> Result<(), Refusal> {
    let leaver = members.iter().find(|m| m.member.node_id == node_id);
    let Some(leaver) = leaver.filter(|m| m.voter) else { return Ok(()) };
    let voters: Vec<&MemberState> = members.iter().filter(|m| m.voter).collect();
    let rest: Vec<&&MemberState> =
        voters.iter().filter(|m| m.member.node_id != leaver.member.node_id).collect();
    if rest.is_empty() {
        let text = "attempting to demote the last manager of the swarm: promote another node first";
        return Err(Refusal::Conflict(text.into()));
    }
    let reachable = rest.iter().filter(|m| m.reachable || m.is_leader).count();
    let majority = rest.len() / 2 + 1;
    if reachable < majority {
        return Err(Refusal::Conflict(format!(
            "can't remove manager {node_id} from the raft: this would result in a loss of quorum \
             ({reachable} of the remaining {} managers are reachable, {majority} are needed)",
            rest.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str, reachable: bool) -> MemberState {
        let member = Member { raft_id: 1, node_id: node.into(), addr: String::new() };
        MemberState { member, voter: true, reachable, is_leader: node == "a" }
    }

    #[test]
    fn the_last_manager_may_not_leave() {
        let refusal = may_leave(&[member("a", true)], "a").unwrap_err();
        assert!(refusal.to_string().contains("last manager"), "{refusal}");
    }

    #[test]
    fn a_manager_may_leave_while_a_majority_of_the_rest_is_reachable() {
        let three = [member("a", true), member("b", true), member("c", true)];
        assert!(may_leave(&three, "c").is_ok());
        // The dead one may always be the one that goes.
        let one_dead = [member("a", true), member("b", true), member("c", false)];
        assert!(may_leave(&one_dead, "c").is_ok());
    }

    #[test]
    fn a_manager_whose_leaving_costs_the_quorum_may_not_leave() {
        let one_dead = [member("a", true), member("b", true), member("c", false)];
        let refusal = may_leave(&one_dead, "b").unwrap_err();
        assert!(refusal.to_string().contains("1 of the remaining 2 managers"), "{refusal}");
    }
}
