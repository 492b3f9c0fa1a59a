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
            let gone = format!("node {} was removed from the swarm", session.node_id);
            return say_last(&to, Status::permission_denied(gone));
        };
        if last.as_ref() != Some(&next) {
            last = Some(next.clone());
            match push(&session, &to, next).await {
                Push::Taken => {}
                Push::HungUp => return hung_up(&shared, &session).await,
                Push::Ended => return say_last(&to, Status::unavailable(INVALID)),
            }
        }
        tokio::select! {
            () = session.renew.notified() => {}
            () = session.ended.cancelled() => return say_last(&to, Status::unavailable(INVALID)),
            () = to.closed() => return hung_up(&shared, &session).await,
        }
    }
}

/// What became of a message.
#[derive(Debug, PartialEq)]
enum Push {
    Taken,
    HungUp,
    Ended,
}

/// Hands a message over as soon as the agent takes it; a session that ends does not wait for an agent that is stuck.
async fn push<T>(session: &Session, to: &mpsc::Sender<Result<T, Status>>, message: T) -> Push {
    tokio::select! {
        taken = to.send(Ok(message)) => if taken.is_ok() { Push::Taken } else { Push::HungUp },
        () = session.ended.cancelled() => Push::Ended,
    }
}

/// The reason of the end, if there is room for it; the end itself always comes.
fn say_last<T>(to: &mpsc::Sender<Result<T, Status>>, why: Status) {
    let _ = to.try_send(Err(why));
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
    let mut sent = Sent::after(session.version());
    // What is pending is in the view that is looked at next.
    let (_, change) = session.take_pending();
    let all = part_of(&shared.store.view(), &session.node_id, &Part::all());
    let first = sent.complete(all);
    session.sent(sent.version(), change);
    if push(&session, &to, first).await != Push::Taken {
        return say_last(&to, Status::unavailable(INVALID));
    }
    loop {
        tokio::select! {
            () = session.changed.notified() => {}
            () = session.ended.cancelled() => return say_last(&to, Status::unavailable(INVALID)),
            () = to.closed() => return,
        }
        for message in changes(&shared, &session, &mut sent) {
            if push(&session, &to, message).await != Push::Taken {
                return say_last(&to, Status::unavailable(INVALID));
            }
        }
    }
}

fn changes(shared: &Shared, session: &Session, sent: &mut Sent) -> Vec<AssignmentsMessage> {
    let (mut part, change) = session.take_pending();
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
    let messages = sent.incremental(&part, wanted);
    session.sent(sent.version(), change);
    messages
}
