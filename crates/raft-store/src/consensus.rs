//! A running Raft core, asked in our terms: propose, confirm a read, tell who leads and who
//! answers.
//!
//! Used by the replicated [`crate::Store`] and by [`crate::Replica`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError,
};
use openraft::impls::ProgressResponder;
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{Instant as _, RaftMetrics, ReadPolicy};
use tokio::time::{Instant, timeout};

use crate::raft::{Command, Raft, Types};
use crate::{Leadership, Member, MemberState, StoreError};

/// What is said of a core that is gone.
pub(crate) const STOPPED: &str = "the raft core has stopped";

/// A Raft core and what it was configured with.
pub(crate) struct Consensus {
    pub(crate) raft: Raft,
    pub(crate) raft_id: u64,
    /// Whether the log on disk was that of a group when it was opened.
    pub(crate) resumed: bool,
    /// A member that has not answered for this long does not count as reachable; a leader that no
    /// majority has answered for this long does not count as one.
    pub(crate) lease: Duration,
    /// How long a write or a read may wait for a majority.
    pub(crate) patience: Duration,
}

/// Why a proposal was not applied.
pub(crate) enum NotApplied {
    /// Nothing was changed: decide again.
    Again(StoreError),
    Failed(StoreError),
}

impl Consensus {
    pub(crate) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Whether any membership ever reached this replica.
    pub(crate) fn in_group(&self) -> bool {
        self.resumed || self.metrics().membership_config.nodes().next().is_some()
    }

    /// The term this replica leads, once all that was committed before it is applied here.
    pub(crate) async fn leading(&self) -> Result<u64, StoreError> {
        let mut metrics = self.raft.metrics();
        let deadline = Instant::now() + self.patience;
        loop {
            {
                let now = metrics.borrow_watched();
                if !leads(&now) {
                    return Err(StoreError::NotLeader { leader: leader_of(&now) });
                }
                if caught_up(&now) {
                    return Ok(now.current_term);
                }
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(StoreError::Fatal(STOPPED.to_owned())),
                Err(_) => return Err(self.no_quorum()),
            }
        }
    }

    /// As [`Self::leading`], but waits for the election first.
    pub(crate) async fn leading_soon(&self) -> Result<(), StoreError> {
        let elected = async {
            let mut metrics = self.raft.metrics();
            while !leads(&metrics.borrow_watched()) {
                metrics.changed().await.map_err(|_| StoreError::Fatal(STOPPED.to_owned()))?;
            }
            self.leading().await.map(|_| ())
        };
        timeout(self.patience, elected).await.unwrap_or_else(|_| Err(self.no_quorum()))
    }

    /// Whether this replica leads this term, with all applied that was committed before it.
    pub(crate) fn leads_in(&self, term: u64) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        leads(&now) && caught_up(&now) && now.current_term == term
    }

    /// Index of the last entry of the log, 0 for an empty one. May lag a little.
    pub(crate) fn last_log_index(&self) -> u64 {
        self.raft.metrics().borrow_watched().last_log_index.unwrap_or(0)
    }

    /// Proposes a command that was decided in `term`, and waits, however long, until it is applied
    /// here or never will be.
    pub(crate) async fn propose(&self, term: u64, command: Command) -> Result<(), NotApplied> {
        let (responder, reply) = ProgressResponder::complete_only();
        let leader = CommittedLeaderId::new(term);
        let write = self.raft.write(command).with_leader(leader).responder(responder);
        write.await.map_err(|fatal| failed(&fatal))?;
        let reply = reply.await.map_err(|_| died())?;
        let reply = reply.map_err(|error| self.refused(&error))?;
        reply.data.0.map_err(NotApplied::Again)
    }

    fn refused(&self, error: &ClientWriteError<Types>) -> NotApplied {
        match error {
            // Leadership went away and came back between deciding and proposing.
            ClientWriteError::ForwardToLeader(forward)
                if forward.leader_id == Some(self.raft_id) =>
            {
                NotApplied::Again(self.forwarded(forward))
            }
            ClientWriteError::ForwardToLeader(forward) => {
                NotApplied::Failed(self.forwarded(forward))
            }
            // Another leader took over; the command may have reached it.
            _ => NotApplied::Failed(StoreError::Timeout { waited: self.patience }),
        }
    }

    /// Waits until all that was acknowledged anywhere before this call is applied here.
    pub(crate) async fn read_barrier(&self) -> Result<(), StoreError> {
        let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match timeout(self.patience, read).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(self.forwarded(&forward))
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                Err(self.no_quorum())
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(StoreError::Fatal(fatal.to_string())),
        }
    }

    pub(crate) fn forwarded(&self, forward: &ForwardToLeader<Types>) -> StoreError {
        if let (Some(id), Some(place)) = (forward.leader_id, &forward.leader_node) {
            return StoreError::NotLeader { leader: Some(place.member(id)) };
        }
        let metrics = self.metrics();
        match leads(&metrics) {
            true => self.no_quorum(),
            false => StoreError::NotLeader { leader: leader_of(&metrics) },
        }
    }

    /// Who does not answer.
    pub(crate) fn no_quorum(&self) -> StoreError {
        let members = self.members();
        let metrics = self.metrics();
        // While the voters are changed, a majority of the old ones and of the new ones must answer.
        let configs = metrics.membership_config.membership().get_joint_config();
        let among = |voters: &BTreeSet<u64>| {
            let voter = |m: &&MemberState| voters.contains(&m.member.raft_id);
            Votes::of(members.iter().filter(voter))
        };
        let votes: Vec<Votes<'_>> = configs.iter().map(among).collect();
        let short = votes.iter().find(|votes| !votes.suffice()).or(votes.first());
        let reason = short.map_or_else(|| "there are no managers".to_owned(), Votes::to_string);
        StoreError::NoQuorum { reason }
    }

    /// All members, ordered by Raft id.
    pub(crate) fn members(&self) -> Vec<MemberState> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        // While it is let in or removed, a majority of either group must be had without it.
        let configs = membership.get_joint_config();
        let leads = leads(&metrics);
        let answered = |id: &u64| match (&metrics.heartbeat, &metrics.replication) {
            _ if *id == self.raft_id => true,
            (Some(heartbeat), _) if leads => {
                heartbeat.get(id).copied().flatten().is_some_and(|at| at.elapsed() < self.lease)
            }
            _ => metrics.current_leader == Some(*id),
        };
        let states = membership.nodes().map(|(id, place)| MemberState {
            member: place.member(*id),
            voter: configs.iter().all(|voters| voters.contains(id)),
            reachable: answered(id),
            is_leader: metrics.current_leader == Some(*id),
        });
        states.collect()
    }

    /// Who is in the group and where, ordered by Raft id.
    pub(crate) fn group(&self) -> Vec<Member> {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        now.membership_config.nodes().map(|(id, place)| place.member(*id)).collect()
    }

    /// Index up to which each member's log is known to equal the leader's; empty on others.
    pub(crate) fn matched(&self) -> BTreeMap<u64, u64> {
        let replication = self.metrics().replication.unwrap_or_default();
        replication.into_iter().filter_map(|(id, at)| Some((id, at?.index))).collect()
    }

    /// Who leads. This replica counts as leading only while a majority answers it.
    pub(crate) fn leadership(&self) -> Leadership {
        let metrics = self.metrics();
        let alone = metrics.membership_config.voter_ids().eq([self.raft_id]);
        let confirmed =
            alone || metrics.last_quorum_acked.as_ref().is_some_and(|at| at.elapsed() < self.lease);
        let is_leader = leads(&metrics) && caught_up(&metrics) && confirmed;
        let elsewhere = metrics.current_leader.is_some_and(|id| id != self.raft_id);
        let leader = if is_leader || elsewhere { leader_of(&metrics) } else { None };
        Leadership { term: metrics.current_term, leader, is_leader }
    }
}

/// Who of some voters answers.
struct Votes<'a> {
    answering: usize,
    silent: Vec<&'a str>,
}

impl<'a> Votes<'a> {
    fn of(voters: impl Iterator<Item = &'a MemberState>) -> Self {
        let mut votes = Self { answering: 0, silent: Vec::new() };
        for voter in voters {
            match voter.reachable {
                true => votes.answering += 1,
                false => votes.silent.push(&voter.member.node_id),
            }
        }
        votes
    }

    fn needed(&self) -> usize {
        (self.answering + self.silent.len()) / 2 + 1
    }

    fn suffice(&self) -> bool {
        self.answering >= self.needed()
    }
}

impl std::fmt::Display for Votes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (answering, needed) = (self.answering, self.needed());
        let all = answering + self.silent.len();
        write!(
            f,
            "{answering} of {all} managers answer and {needed} are needed; no answer from: "
        )?;
        f.write_str(&self.silent.join(", "))
    }
}

/// Whether this replica was elected and knows of no later election.
pub(crate) fn leads(metrics: &RaftMetrics<Types>) -> bool {
    metrics.state.is_leader() && metrics.current_leader == Some(metrics.id)
}

/// Whether an entry of the current term is applied: then all before it is.
fn caught_up(metrics: &RaftMetrics<Types>) -> bool {
    metrics.last_applied.is_some_and(|at| at.leader_id.term == metrics.current_term)
}

fn leader_of(metrics: &RaftMetrics<Types>) -> Option<Member> {
    let id = metrics.current_leader?;
    let place = metrics.membership_config.membership().get_node(&id)?;
    Some(place.member(id))
}

fn failed(fatal: &Fatal<Types>) -> NotApplied {
    NotApplied::Failed(StoreError::Fatal(fatal.to_string()))
}

fn died() -> NotApplied {
    NotApplied::Failed(StoreError::Fatal(STOPPED.to_owned()))
}
