//! Out of a cluster. A worker just goes; a manager is asked whether it knows what that means.

use std::sync::Arc;
use std::time::Duration;

use swarm_api::RaftLeaveRequest;
use swarm_api::raft_membership_client::RaftMembershipClient;
use tonic::Status;

use crate::daemon::Daemon;
use crate::member::Member;
use crate::unlock;

/// A leader that does not take this node out of the voters by then is not waited for.
const FAREWELL: Duration = Duration::from_secs(5);

/// Leaves; containers of tasks, networks and state are removed.
pub async fn leave(daemon: &Arc<Daemon>, force: bool) -> Result<(), Status> {
    let mut place = daemon.member.lock().await;
    unlock::refuse_locked(daemon)?;
    let Some(member) = place.as_ref() else {
        return Err(Status::failed_precondition("this node is not part of a swarm"));
    };
    if let Some(manager) = member.manager().await {
        let count = manager.managers().len();
        if !force {
            return Err(Status::failed_precondition(warning(count)));
        }
        if count > 1 {
            say_farewell(member).await;
        }
    }
    let Some(member) = place.take() else { return Ok(()) };
    member.leave().await.map_err(|e| Status::internal(format!("{e:#}")))
}

/// A node that goes must not be counted as a voter any more. Refused where that would cost the quorum: then it goes anyway, as
/// the user forced it.
async fn say_farewell(member: &Member) {
    let settings = member.settings().await;
    let others = settings.managers.iter().filter(|m| **m != settings.advertise_addr);
    for addr in others {
        let Ok(channel) = member.credentials().channel(addr) else { continue };
        let request = RaftLeaveRequest { node_id: member.identity().node_id.clone() };
        let mut client = RaftMembershipClient::new(channel);
        match tokio::time::timeout(FAREWELL, client.leave(request)).await {
            Ok(Ok(_)) => return,
            Ok(Err(status)) => {
                tracing::warn!(manager = %addr, reason = %status.message(), "leave the managers");
            }
            Err(_) => tracing::warn!(manager = %addr, "leave the managers: no answer"),
        }
    }
}

/// The incumbent's words, with the arithmetic.
fn warning(managers: usize) -> String {
    let effect = match managers {
        0 | 1 => "Removing the last manager erases all current state of the swarm. \
                  Use `--force` to ignore this message."
            .to_owned(),
        n => format!(
            "Removing this node leaves {} managers out of {n}. Without a Raft quorum your swarm \
             will be inaccessible. Demote it first, or use `--force` to suppress this message.",
            n - 1
        ),
    };
    format!(
        "You are attempting to leave the swarm on a node that is participating as a manager. \
         {effect}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_says_what_would_be_left() {
        assert!(warning(3).contains("leaves 2 managers out of 3"));
        assert!(warning(1).contains("erases all current state"));
    }
}
