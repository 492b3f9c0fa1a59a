//! The node's line to the managers: registers, beats, receives assignments, delivers statuses. When it breaks, everything on
//! the node goes on, and the line is made anew to any manager that answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_api::dispatcher_client::DispatcherClient;
use swarm_api::time::{or_default, timestamp};
use swarm_api::{
    AssignmentsRequest, HeartbeatRequest, SessionMessage, SessionRequest, UpdateTaskStatusRequest,
};
use swarm_ca::Credentials;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::assignment::Assignments;
use crate::controller::Executor;
use crate::drain::{Applied, Line, acknowledge};
use crate::report::Reports;

/// First pause after a broken session,
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// and the longest: a manager that returns is found again within seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// A manager that does not answer a call by then is given up for another.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// All that is assigned to a node comes as one message when it registers: thousands of tasks, with their secrets and configs.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How a manager's refusal of a node that was removed reads; with it comes `PermissionDenied`.
const REMOVED: &str = "was removed from the swarm";
/// Until the manager says otherwise.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(1);

/// What a session shares with the rest of the node.
pub struct SessionLink {
    /// For channels to managers.
    pub credentials: Credentials,
    /// Managers to try, the newest known.
    pub managers: watch::Receiver<Vec<String>>,
    /// Describes the node.
    pub executor: Arc<dyn Executor>,
    /// Statuses to deliver.
    pub reports: Reports,
    /// Where assignments go.
    pub assignments: watch::Sender<Option<Arc<Assignments>>>,
    /// Where news of the cluster go.
    pub news: watch::Sender<Option<SessionMessage>>,
    /// Where the managers' word goes that this node is none of the cluster's any more.
    pub removed: watch::Sender<Option<String>>,
    /// Where the channel in use goes, for log subscriptions.
    pub channel: watch::Sender<Option<Channel>>,
    /// Where the session goes, for tasks that are to stop.
    pub line: watch::Sender<Option<Line>>,
    /// What the networks are equal to.
    pub applied: watch::Receiver<Applied>,
}

/// Keeps a session open until cancelled. A node that was removed from the cluster ends its tasks, which run elsewhere by now,
/// and goes on trying: it says so where it is asked, and `leave` ends it.
pub async fn run(link: SessionLink, cancel: CancellationToken) {
    let mut backoff = BACKOFF_MIN;
    let mut turn = rand::random::<u32>() as usize;
    let mut known = link.managers.clone();
    loop {
        let managers = known.borrow_and_update().clone();
        if !managers.is_empty() {
            let addr = managers[turn % managers.len()].clone();
            tokio::select! {
                () = cancel.cancelled() => return,
                ended = one_session(&link, &addr, &mut backoff) => {
                    let Err(status) = ended;
                    link.channel.send_replace(None);
                    link.line.send_replace(None);
                    heed_removal(&link, &status);
                    tracing::info!(manager = %addr, reason = %status.message(), "session ended");
                }
            }
            turn = turn.wrapping_add(1);
        }
        let pause = async {
            match managers.is_empty() {
                true => std::future::pending().await,
                false => sleep(jitter(backoff)).await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            Ok(()) = known.changed() => backoff = BACKOFF_MIN,
            () = pause => backoff = (backoff * 2).min(BACKOFF_MAX),
        }
    }
}

fn heed_removal(link: &SessionLink, ended: &Status) {
    if ended.code() == Code::PermissionDenied && ended.message().contains(REMOVED) {
        link.removed.send_replace(Some(ended.message().to_owned()));
        link.assignments.send_replace(Some(Arc::default()));
    }
}

/// A session from registration to its end, which is always an error.
async fn one_session(
    link: &SessionLink,
    addr: &str,
    backoff: &mut Duration,
) -> Result<std::convert::Infallible, Status> {
    let channel = link.credentials.channel(addr).map_err(|e| Status::unavailable(e.to_string()))?;
    let mut client =
        DispatcherClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut description = link.executor.describe().await;
    description.tls = Some(link.credentials.identity().tls_info());
    let description = Some(description);
    let registered = timeout(CALL_TIMEOUT, client.session(SessionRequest { description })).await;
    let mut news = registered.map_err(|_| no_answer())??.into_inner();
    let first = timeout(CALL_TIMEOUT, next_message(&mut news)).await.map_err(|_| no_answer())??;
    let session_id = first.session_id.clone();
    let period = or_default(first.heartbeat_period.as_ref(), HEARTBEAT_DEFAULT);
    tracing::info!(manager = %addr, session = %session_id, "session opened");
    *backoff = BACKOFF_MIN;
    link.removed.send_replace(None);
    link.news.send_replace(Some(first));
    let line = Line { channel: channel.clone(), session_id: session_id.clone() };
    link.channel.send_replace(Some(channel));
    link.line.send_replace(Some(line.clone()));
    tokio::select! {
        ended = acknowledge(line, link.applied.clone()) => ended,
        ended = follow_news(link, news) => ended,
        ended = beat(link, client.clone(), &session_id, period) => ended,
        ended = follow_assignments(link, client.clone(), &session_id) => ended,
        ended = deliver(link, client.clone(), &session_id) => ended,
    }
}

type Ended = Result<std::convert::Infallible, Status>;

async fn follow_news(link: &SessionLink, mut news: Streaming<SessionMessage>) -> Ended {
    loop {
        let message = next_message(&mut news).await?;
        link.news.send_replace(Some(message));
    }
}

/// Says that the node lives, what its clock shows and how it is certified. Says so at once when that has changed.
async fn beat(
    link: &SessionLink,
    mut client: DispatcherClient<Channel>,
    session: &str,
    first: Duration,
) -> Ended {
    let mut period = first;
    let mut identities = link.credentials.changes();
    loop {
        tokio::select! {
            () = sleep(period) => {}
            _ = identities.changed() => {}
        }
        let request = HeartbeatRequest {
            session_id: session.to_owned(),
            sent_at: Some(timestamp(SystemTime::now())),
            tls: Some(link.credentials.identity().tls_info()),
        };
        let answer = timeout(CALL_TIMEOUT, client.heartbeat(request)).await;
        let answer = answer.map_err(|_| no_answer())??.into_inner();
        period = or_default(answer.period.as_ref(), HEARTBEAT_DEFAULT);
    }
}

async fn follow_assignments(
    link: &SessionLink,
    mut client: DispatcherClient<Channel>,
    session: &str,
) -> Ended {
    loop {
        let request = AssignmentsRequest { session_id: session.to_owned() };
        let mut stream = client.assignments(request).await?.into_inner();
        let mut set = Assignments { session: session.to_owned(), ..Assignments::default() };
        // A broken chain leaves the inner loop: the stream is asked anew.
        loop {
            if let Err(broken) = set.apply(next_message(&mut stream).await?) {
                tracing::warn!(%broken, "assignments are asked anew");
                break;
            }
            link.assignments.send_replace(Some(Arc::new(set.clone())));
        }
    }
}

async fn deliver(link: &SessionLink, client: DispatcherClient<Channel>, session: &str) -> Ended {
    loop {
        let updates = link.reports.take().await;
        let sent = send_statuses(client.clone(), session, &updates).await;
        if let Err(status) = sent {
            // The managers refuse what they cannot understand; sending it again would not help.
            if status.code() != Code::InvalidArgument {
                link.reports.give_back(updates);
            }
            return Err(status);
        }
    }
}

async fn send_statuses(
    mut client: DispatcherClient<Channel>,
    session: &str,
    updates: &[swarm_api::TaskStatusUpdate],
) -> Result<(), Status> {
    let request =
        UpdateTaskStatusRequest { session_id: session.to_owned(), updates: updates.to_vec() };
    timeout(CALL_TIMEOUT, client.update_task_status(request)).await.map_err(|_| no_answer())??;
    Ok(())
}

async fn next_message<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    stream.message().await?.ok_or_else(|| Status::unavailable("the manager ended the stream"))
}

fn no_answer() -> Status {
    Status::deadline_exceeded(format!("no answer within {CALL_TIMEOUT:?}"))
}

/// Between half and all of `pause`, so that nodes do not return in step.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
