//! This manager's place among the managers: read barriers, members, and the arithmetic of who may leave.
//!
//! It decides nothing about roles (see `membership`) and stores nothing. A standalone store has no peers, which lets every
//! service be tested without Raft.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use swarm_api::control_client::ControlClient;
use swarm_api::{ListNodesRequest, ManagerStatus, Node, NodeRole, Reachability};
use swarm_raft_store::{Member, MemberState, Removal, Replica, StoreError};

use crate::peers::Peers;
use crate::refusal::Refusal;

/// A leader that does not say who answers it by then is not waited for.
const ASK: Duration = Duration::from_secs(3);

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
        let removal: BoxFuture<'_, _> = Box::pin(replica.remove_member(node_id));
        match removal.await {
            // Someone else was faster.
            Err(StoreError::NotFound { .. }) => Ok(()),
            result => result,
        }
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

/// The members as the leader sees them; `None` if it does not say.
pub(crate) async fn members_at(peers: &Peers, leader: &Member) -> Option<Vec<MemberState>> {
    let channel = peers.channel(leader).ok()?;
    let mut control = ControlClient::new(channel);
    let request = ListNodesRequest { roles: vec![NodeRole::Manager.into()], ..Default::default() };
    let nodes = tokio::time::timeout(ASK, control.list_nodes(request)).await.ok()?.ok()?;
    let state = |node: Node| {
        let status = node.manager_status?;
        let reachability = status.reachability();
        Some(MemberState {
            member: Member { raft_id: status.raft_id, node_id: node.id, addr: status.addr },
            voter: reachability != Reachability::Unknown,
            reachable: reachability == Reachability::Reachable,
            is_leader: status.leader,
        })
    };
    Some(nodes.into_inner().nodes.into_iter().filter_map(state).collect())
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

/// Whether `node_id` may leave the managers: refuses the last one, and what would leave fewer that answer than a majority.
/// Those that are `leaving` already count as gone. Says the arithmetic.
pub fn may_leave(
    members: &[MemberState],
    node_id: &str,
    leaving: &[String],
) -> Result<(), Refusal> {
    let votes = members.iter().any(|m| m.voter && m.member.node_id == node_id);
    if !votes {
        return Ok(());
    }
    let (removal, also) = departure(members, node_id, leaving);
    if removal.left == 0 {
        let text = "attempting to demote the last manager of the swarm: promote another node first";
        return Err(Refusal::Conflict(format!("{text} ({removal}{also})")));
    }
    match removal.keeps_quorum() {
        true => Ok(()),
        false => Err(Refusal::Conflict(format!(
            "can't remove manager {node_id} from the raft: this would result in a loss of quorum \
             ({removal}{also})"
        ))),
    }
}

/// What the managers come to without `node_id` and those that are leaving already, and words for the latter.
fn departure(members: &[MemberState], node_id: &str, leaving: &[String]) -> (Removal, String) {
    let goes = |m: &MemberState| m.member.node_id == node_id || leaving.contains(&m.member.node_id);
    let counts = |id: &&String| {
        *id != node_id && members.iter().any(|m| m.voter && m.member.node_id == **id)
    };
    let others: Vec<&str> = leaving.iter().filter(counts).map(String::as_str).collect();
    let also = match others.as_slice() {
        [] => String::new(),
        others => format!("; already being demoted: {}", others.join(", ")),
    };
    (Removal::of(members, goes), also)
}

/// What a manager's going would come to, in words; for refusals that have another reason.
pub fn arithmetic(members: &[MemberState], node_id: &str) -> String {
    Removal::of(members, |m| m.member.node_id == node_id).to_string()
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
        let refusal = may_leave(&[member("a", true)], "a", &[]).unwrap_err();
        assert!(refusal.to_string().contains("last manager"), "{refusal}");
    }

    #[test]
    fn a_manager_may_leave_while_a_majority_of_the_rest_is_reachable() {
        let three = [member("a", true), member("b", true), member("c", true)];
        assert!(may_leave(&three, "c", &[]).is_ok());
        // The dead one may always be the one that goes.
        let one_dead = [member("a", true), member("b", true), member("c", false)];
        assert!(may_leave(&one_dead, "c", &[]).is_ok());
        assert!(may_leave(&one_dead, "a worker", &[]).is_ok());
    }

    #[test]
    fn a_manager_whose_leaving_costs_the_quorum_may_not_leave_and_is_told_the_arithmetic() {
        let one_dead = [member("a", true), member("b", true), member("c", false)];
        let refusal = may_leave(&one_dead, "b", &[]).unwrap_err().to_string();
        let wanted = "(3 managers, 2 reachable, quorum 2: after this 2 managers, quorum 2, \
                      reachable 1)";
        assert!(refusal.ends_with(wanted), "{refusal}");
    }

    #[test]
    fn those_that_are_leaving_already_count_as_gone() {
        let names = ["a", "b", "c", "d"];
        let four = names.map(|name| member(name, name != "d"));
        assert!(may_leave(&four, "b", &[]).is_ok());
        let refusal = may_leave(&four, "b", &["c".into(), "a worker".into()]).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("after this 2 managers, quorum 2, reachable 1"), "{refusal}");
        assert!(refusal.ends_with("; already being demoted: c)"), "{refusal}");
        let two = [member("a", true), member("b", true)];
        assert!(may_leave(&two, "a", &["b".into()]).is_err());
    }
}
