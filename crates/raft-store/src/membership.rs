//! Changes to the group, one at a time, and the arithmetic that refuses those that would lose the
//! quorum.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::consensus::{Consensus, STOPPED, leads};
use crate::quorum::Removal;
use crate::raft::Types;
use crate::{Member, MemberState, StoreError};

/// How long a new member may take to catch up with the log; a snapshot may have to go to it first.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Refuses a removal after which no majority would answer.
pub(crate) fn check_removal(members: &[MemberState], target: &Member) -> Result<(), StoreError> {
    let goes = |m: &MemberState| m.member.raft_id == target.raft_id;
    if !members.iter().any(|m| m.voter && goes(m)) {
        return Ok(());
    }
    let removal = Removal::of(members, goes);
    let name = &target.node_id;
    if removal.left == 0 {
        let text = format!("manager {name} is the last one: without it there is no cluster");
        return Err(StoreError::Refused(text));
    }
    if removal.keeps_quorum() {
        return Ok(());
    }
    let silent: Vec<&str> = members
        .iter()
        .filter(|m| m.voter && !goes(m) && !m.reachable)
        .map(|m| m.member.node_id.as_str())
        .collect();
    Err(StoreError::Refused(format!(
        "removing manager {name} would lose the quorum ({removal}); bring back or remove first: {}",
        silent.join(", ")
    )))
}

impl Consensus {
    /// Adds a member as a learner, waits until it has caught up, and lets it vote. A member known
    /// under this Raft id gets its new address; one known under this node id but another Raft id
    /// has lost its log and is removed first.
    pub(crate) async fn add_member(&self, member: &Member) -> Result<(), StoreError> {
        self.leading().await?;
        let members = self.members();
        let known = members.iter().find(|m| m.member.raft_id == member.raft_id);
        if let Some(known) = known
            && known.member != *member
        {
            let nodes = BTreeMap::from([(member.raft_id, member.into())]);
            self.change(ChangeMembers::SetNodes(nodes), true).await?;
        }
        if known.is_some_and(|known| known.voter) {
            return Ok(());
        }
        let stale = |m: &&MemberState| {
            m.member.node_id == member.node_id && m.member.raft_id != member.raft_id
        };
        // Collected: a filter held while waiting would tie the future to one thread.
        let stale: Vec<&MemberState> = members.iter().filter(stale).collect();
        for stale in stale {
            self.drop_member(stale).await?;
        }
        if known.is_none() {
            let nodes = BTreeMap::from([(member.raft_id, member.into())]);
            self.change(ChangeMembers::AddNodes(nodes), true).await?;
        }
        if let Err(error) = self.wait_for(member).await {
            let ids = BTreeSet::from([member.raft_id]);
            self.change(ChangeMembers::RemoveNodes(ids), false).await?;
            return Err(error);
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([member.raft_id])), true).await
    }

    async fn wait_for(&self, member: &Member) -> Result<(), StoreError> {
        let mut metrics = self.raft.metrics();
        let deadline = Instant::now() + CATCH_UP;
        let goal = self.metrics().last_log_index.unwrap_or(0);
        loop {
            if self.matched().get(&member.raft_id).is_some_and(|at| *at >= goal) {
                return Ok(());
            }
            if !leads(&metrics.borrow_watched()) {
                return Err(self.forwarded(&openraft::errors::ForwardToLeader::empty()));
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(StoreError::Fatal(STOPPED.to_owned())),
                Err(_) => {
                    let text = format!(
                        "manager {} at {} did not catch up within {} s: check that this manager \
                         can reach that address",
                        member.node_id,
                        member.addr,
                        CATCH_UP.as_secs()
                    );
                    return Err(StoreError::Refused(text));
                }
            }
        }
    }

    /// Removes the member on this node. A leader asked to remove itself hands over first and names
    /// its successor.
    pub(crate) async fn remove_member(&self, node_id: &str) -> Result<(), StoreError> {
        self.leading().await?;
        let members = self.members();
        let on_node: Vec<&MemberState> =
            members.iter().filter(|m| m.member.node_id == node_id).collect();
        if on_node.is_empty() {
            return Err(StoreError::NotFound { kind: "manager", id: node_id.to_owned() });
        }
        for target in on_node {
            self.drop_member(target).await?;
        }
        Ok(())
    }

    /// A new leader has not heard of all yet: waits for the others before it calls them silent.
    async fn heard_of_all_but(&self, target: u64) {
        let mut metrics = self.raft.metrics();
        let all_heard = async {
            loop {
                let heard = {
                    let now = metrics.borrow_watched();
                    let mut others =
                        now.heartbeat.iter().flatten().filter(|(id, _)| **id != target);
                    others.all(|(_, at)| at.is_some())
                };
                if heard || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Later it is silence.
        let _ = timeout(self.lease, all_heard).await;
    }

    async fn drop_member(&self, target: &MemberState) -> Result<(), StoreError> {
        self.heard_of_all_but(target.member.raft_id).await;
        check_removal(&self.members(), &target.member)?;
        if target.member.raft_id == self.raft_id {
            let leader = Some(self.transfer_leadership().await?);
            return Err(StoreError::NotLeader { leader });
        }
        let ids = BTreeSet::from([target.member.raft_id]);
        match target.voter {
            true => self.change(ChangeMembers::RemoveVoters(ids), false).await,
            false => self.change(ChangeMembers::RemoveNodes(ids), false).await,
        }
    }

    /// Hands leadership to the voter with the longest log of those that answer; who that is.
    pub(crate) async fn transfer_leadership(&self) -> Result<Member, StoreError> {
        self.leading().await?;
        let matched = self.matched();
        let heirs = self
            .members()
            .into_iter()
            .filter(|m| m.voter && m.reachable && m.member.raft_id != self.raft_id);
        let heir = heirs.max_by_key(|m| matched.get(&m.member.raft_id).copied());
        let Some(heir) = heir else {
            let text = "there is no other manager that answers and could lead";
            return Err(StoreError::Refused(text.to_owned()));
        };
        let id = heir.member.raft_id;
        let fatal = |e: openraft::errors::Fatal<Types>| StoreError::Fatal(e.to_string());
        self.raft.trigger().transfer_leader(id).await.map_err(fatal)?;
        let mut metrics = self.raft.metrics();
        let deadline = Instant::now() + self.patience;
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != self.raft_id) {
                return Ok(heir.member);
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(StoreError::Fatal(STOPPED.to_owned())),
                Err(_) => {
                    let text = format!("manager {} did not take over", heir.member.node_id);
                    return Err(StoreError::Refused(text));
                }
            }
        }
    }

    /// Brings a change of voters to its end that whoever asked for it has given up, or the leader
    /// before: until then it needs a majority of the old voters and of the new ones.
    pub(crate) async fn finish_change(&self) -> Result<(), StoreError> {
        match self.leads_joint() {
            true => self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), true).await,
            false => Ok(()),
        }
    }

    /// Whether this replica leads a group whose voters are being changed.
    pub(crate) fn leads_joint(&self) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        leads(&now) && now.membership_config.membership().get_joint_config().len() > 1
    }

    pub(crate) async fn change(
        &self,
        change: ChangeMembers<u64, crate::raft::Place>,
        retain: bool,
    ) -> Result<(), StoreError> {
        let waited = CATCH_UP;
        match timeout(waited, self.raft.change_membership(change, retain)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(fatal))) => Err(StoreError::Fatal(fatal.to_string())),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(self.forwarded(&forward))
            }
            Ok(Err(RaftError::APIError(error))) => {
                Err(StoreError::Refused(format!("the managers' group was not changed: {error}")))
            }
            Err(_) => Err(StoreError::Timeout { waited }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(reachable: &[bool]) -> Vec<MemberState> {
        let state = |(n, reachable): (usize, &bool)| MemberState {
            member: Member { raft_id: n as u64, node_id: format!("m{n}"), addr: String::new() },
            voter: true,
            reachable: *reachable,
            is_leader: n == 0,
        };
        reachable.iter().enumerate().map(state).collect()
    }

    #[test]
    fn a_removal_that_keeps_the_quorum_is_allowed() {
        let healthy = group(&[true, true, true]);
        check_removal(&healthy, &healthy[1].member).unwrap();
        let one_down = group(&[true, true, false]);
        check_removal(&one_down, &one_down[2].member).unwrap();
    }

    #[test]
    fn a_removal_that_loses_the_quorum_is_refused_with_the_arithmetic() {
        let one_down = group(&[true, true, false]);
        let error = check_removal(&one_down, &one_down[1].member).unwrap_err().to_string();
        assert_eq!(
            error,
            "removing manager m1 would lose the quorum (3 managers, 2 reachable, quorum 2: after \
             this 2 managers, quorum 2, reachable 1); bring back or remove first: m2"
        );
        let alone = group(&[true]);
        assert!(check_removal(&alone, &alone[0].member).is_err());
    }
}
