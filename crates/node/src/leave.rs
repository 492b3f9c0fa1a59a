//! Out of a cluster. A worker just goes; a manager is told what that means, and goes only by force.

use std::sync::Arc;
use std::time::Duration;

use swarm_api::raft_membership_client::RaftMembershipClient;
use swarm_api::{Config, Network, Node, RaftLeaveRequest, Secret, Service};
use swarm_manager::whereabouts::cause;
use swarm_manager::{Removal, View};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, Status};

use crate::daemon::Daemon;
use crate::erase::{erase, open_net};
use crate::member::Member;
use crate::unlock::{self, Locked};

/// A leader that does not take this node out of the voters by then is not waited for: an election fits in.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long one manager may take to answer,
const ANSWER: Duration = Duration::from_secs(5);
/// and the pause before all are asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// Leaves; containers of tasks, networks and state are removed. Says what the cluster has lost by it, if anything.
pub async fn leave(daemon: &Arc<Daemon>, force: bool) -> Result<String, Status> {
    let mut place = daemon.member.lock().await;
    if let Some(locked) = unlock::locked(daemon) {
        return leave_locked(daemon, &locked, force).await;
    }
    let Some(member) = place.as_ref() else {
        return Err(Status::failed_precondition("this node is not part of a swarm"));
    };
    let mut lost = String::new();
    if let Some(manager) = member.manager().await {
        let removal = manager.departure().await;
        if !force {
            return Err(Status::failed_precondition(warning(&removal)));
        }
        lost = match removal.left {
            0 => erased(&manager.store().view()),
            _ => say_farewell(member)
                .await
                .err()
                .map_or_else(String::new, |reason| stranded(&removal, &reason)),
        };
    }
    let Some(member) = place.take() else { return Ok(lost) };
    member.leave().await.map_err(|e| Status::internal(format!("{e:#}")))?;
    Ok(lost)
}

/// Without its keys it can tell nobody that it goes.
async fn leave_locked(daemon: &Daemon, locked: &Locked, force: bool) -> Result<String, Status> {
    if !force {
        let text = format!("{} To leave without the key, use `--force`.", unlock::LOCKED);
        return Err(Status::failed_precondition(text));
    }
    let failed = |e: anyhow::Error| Status::internal(format!("{e:#}"));
    let net = open_net(daemon, &locked.settings).await.map_err(failed)?;
    let erased = erase(daemon, &net).await;
    unlock::forget(daemon);
    erased.map_err(failed)?;
    let id = &locked.plate.node_id;
    Ok(format!(
        "this manager left while it was locked, without being taken out of the managers: if there \
         are others, they count it as one that is down; there, run 'swarmctl node demote {id}' and \
         'swarmctl node rm {id}'"
    ))
}

/// A node that goes must not be counted as a voter any more. An error says why it still is: then it goes anyway, as the user
/// forced it.
async fn say_farewell(member: &Member) -> Result<(), String> {
    let deadline = Instant::now() + FAREWELL;
    let own = member.settings().await.advertise_addr;
    let mut reason = "no other manager is known".to_owned();
    loop {
        for addr in managers(member, &own).await {
            let Ok(channel) = member.credentials().channel(&addr) else { continue };
            let request = RaftLeaveRequest { node_id: member.identity().node_id.clone() };
            let mut client = RaftMembershipClient::new(channel);
            match timeout_at(deadline, timeout(ANSWER, client.leave(request))).await {
                Ok(Ok(Ok(_))) => return Ok(()),
                // The leader's word, after which no other manager says otherwise.
                Ok(Ok(Err(status))) if status.code() == Code::FailedPrecondition => {
                    return Err(status.message().to_owned());
                }
                Ok(Ok(Err(status))) => reason = format!("{addr}: {}", cause(&status)),
                Ok(Err(_)) => reason = format!("{addr}: no answer within {} s", ANSWER.as_secs()),
                Err(_) => return Err(reason),
            }
        }
        if timeout_at(deadline, sleep(PAUSE)).await.is_err() {
            return Err(reason);
        }
    }
}

async fn managers(member: &Member, own: &str) -> Vec<String> {
    let known = match member.manager().await {
        Some(manager) => manager.managers().into_iter().map(|(_, addr)| addr).collect(),
        None => member.settings().await.managers,
    };
    known.into_iter().filter(|addr| addr != own).collect()
}

/// The incumbent's words, with the arithmetic.
fn warning(removal: &Removal) -> String {
    let effect = match removal.left {
        0 => "Removing the last manager erases all current state of the swarm. Use `--force` to \
              ignore this message."
            .to_owned(),
        left => format!(
            "Removing this node leaves {left} managers out of {}. Without a Raft quorum your swarm \
             will be inaccessible. Demote it first, or use `--force` to suppress this message.",
            removal.managers
        ),
    };
    format!(
        "You are attempting to leave the swarm on a node that is participating as a manager \
         ({removal}). {effect}"
    )
}

/// What goes with the last manager.
fn erased(view: &View) -> String {
    format!(
        "this was the last manager: the state of the swarm is gone ({} nodes, {} services, {} \
         networks, {} secrets, {} configs)",
        view.count::<Node>(),
        view.count::<Service>(),
        view.count::<Network>(),
        view.count::<Secret>(),
        view.count::<Config>()
    )
}

/// What it means that the others still count this manager.
fn stranded(removal: &Removal, reason: &str) -> String {
    let Removal { managers, left_reachable, .. } = *removal;
    let needed = swarm_manager::quorum_of(managers);
    let effect = match left_reachable >= needed {
        true => format!(
            "the others go on and count it as one that is down: {left_reachable} of {managers} \
             answer, {needed} are needed; demote it there"
        ),
        false => format!(
            "the swarm has lost its quorum: {left_reachable} of {managers} managers are left that \
             answer, {needed} are needed; nothing can be changed until others come back or the \
             swarm is recovered from one of them"
        ),
    };
    format!("this manager left without being taken out of the managers ({reason}): {effect}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(managers: usize, left_reachable: usize) -> Removal {
        let left = managers - 1;
        Removal { managers, reachable: left_reachable + 1, left, left_reachable }
    }

    #[test]
    fn the_warning_says_what_would_be_left() {
        let said = warning(&removal(3, 1));
        assert!(said.contains("leaves 2 managers out of 3"), "{said}");
        let arithmetic =
            "(3 managers, 2 reachable, quorum 2: after this 2 managers, quorum 2, reachable 1)";
        assert!(said.contains(arithmetic), "{said}");
        assert!(warning(&removal(1, 0)).contains("erases all current state"));
    }

    #[test]
    fn what_a_forced_leave_costs_is_said() {
        let said = stranded(&removal(3, 1), "m2 refused");
        assert!(said.contains("(m2 refused): the swarm has lost its quorum: 1 of 3"), "{said}");
        let said = stranded(&removal(5, 3), "no answer");
        assert!(said.contains("the others go on"), "{said}");
    }
}
