//! The two streams of a session. Each is a task of its own that looks at the newest view whenever it is told that
//! something concerns it; a slow agent delays nobody, it is just told less often.

use std::sync::Arc;

use swarm_api::{AssignmentsMessage, NodeState, SessionMessage};
use tokio::sync::mpsc;
use tonic::Status;

use super::content::{Part, part_of};
use super::liveness::{declare, period};
use super::register::message;
use super::sent::Sent;
use super::session::Session;
use super::{INVALID, Shared};

/// Messages on their way to one agent; more would only be stale.
pub(super) const DEPTH: usize = 4;

/// Sends the session message first and on every change, until the session or the agent's interest ends.
pub(super) async fn session(
    shared: Arc<Shared>,
    session: Arc<Session>,
    to: mpsc::Sender<Result<SessionMessage, Status>>,
) {
    let mut last = None;
    loop {
        let Some(next) = message(&shared.store.view(), &session) else {
            shared.sessions.close(&session);
            let gone = format!("node {} was removed from the cluster", session.node_id);
            let _ = to.send(Err(Status::permission_denied(gone))).await;
            return;
        };
        if last.as_ref() != Some(&next) {
            last = Some(next.clone());
            if to.send(Ok(next)).await.is_err() {
                return hung_up(&shared, &session).await;
            }
        }
        tokio::select! {
            () = session.renew.notified() => {}
            () = session.ended.cancelled() => {
                let _ = to.send(Err(Status::unavailable(INVALID))).await;
                return;
            }
            () = to.closed() => return hung_up(&shared, &session).await,
        }
    }
}

/// The agent is not there any more. It has a heartbeat's time to come back before anybody is told. The session's deadline
/// stays: whether the node is down is for that to say.
async fn hung_up(shared: &Shared, session: &Session) {
    tokio::select! {
        () = session.ended.cancelled() => return,
        () = tokio::time::sleep(period(&shared.store.view())) => {}
    }
    let node = [session.node_id.clone()];
    let present = |node_id: &str| shared.sessions.find(node_id, &session.id).is_some();
    let (state, why) = (NodeState::NodeDisconnected, "session closed by the node");
    if let Err(error) = declare(shared, &node, state, why, present).await {
        tracing::debug!(%error, "a closed session was not recorded");
    }
}

/// Sends everything, then what changes, until the session or the agent's interest ends.
pub(super) async fn assignments(
    shared: Arc<Shared>,
    session: Arc<Session>,
    to: mpsc::Sender<Result<AssignmentsMessage, Status>>,
) {
    let mut sent = Sent::default();
    // What is pending is in the view that is looked at next.
    session.take_pending();
    let all = part_of(&shared.store.view(), &session.node_id, &Part::all());
    if to.send(Ok(sent.complete(all))).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            () = session.changed.notified() => {}
            () = session.ended.cancelled() => {
                let _ = to.send(Err(Status::unavailable(INVALID))).await;
                return;
            }
            () = to.closed() => return,
        }
        for message in changes(&shared, &session, &mut sent) {
            if to.send(Ok(message)).await.is_err() {
                return;
            }
        }
    }
}

fn changes(shared: &Shared, session: &Session, sent: &mut Sent) -> Vec<AssignmentsMessage> {
    let mut part = session.take_pending();
    if part.is_empty() {
        return Vec::new();
    }
    let view = shared.store.view();
    let mut wanted = part_of(&view, &session.node_id, &part);
    // Another set of networks means other endpoints and other addresses of peers.
    if part.own && !part.all && sent.networks_differ(&wanted) {
        part = Part::all();
        wanted = part_of(&view, &session.node_id, &part);
    }
    sent.incremental(&part, wanted)
}
