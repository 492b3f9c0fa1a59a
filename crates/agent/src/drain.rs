//! Before a task is told to stop, every node has stopped leading new connections to it: the managers collect the nodes' word
//! that they have applied what takes it out, and tell this node. Bounded: a task that is to stop does stop.

use std::time::Duration;

use swarm_api::dispatcher_client::DispatcherClient;
use swarm_api::{AwaitDrainedRequest, NetworksAppliedRequest, Task};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

/// Without a manager's word, a task stops after this time: longer than a push to all nodes takes, many times over.
const UNTOLD: Duration = Duration::from_millis(500);
/// A node that does not answer holds up the end of a task no longer than this.
const LONGEST: Duration = Duration::from_secs(3);
/// Connections that were led to the task just before it was taken out arrive within this time.
const ON_THE_WAY: Duration = Duration::from_millis(20);

/// The open session: how to reach its manager, and its name there.
#[derive(Debug, Clone)]
pub struct Line {
    /// To the manager.
    pub channel: Channel,
    /// Of the session.
    pub session_id: String,
}

/// What the node's networks are equal to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Session that the version is of.
    pub session_id: String,
    /// Version of the assignments.
    pub version: u64,
}

/// Waits for tasks to be out of load balancing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain {
    line: watch::Receiver<Option<Line>>,
}

impl Drain {
    /// Asks over the session that is open at the time.
    pub fn new(line: watch::Receiver<Option<Line>>) -> Self {
        Self { line }
    }

    /// Returns when no node leads new connections to the task, or when it has been waited for long enough.
    pub async fn wait(&self, task: &Task) {
        let begun = Instant::now();
        match timeout_at(begun + LONGEST, self.ask(task)).await {
            Ok(Ok(())) => sleep(ON_THE_WAY).await,
            Ok(Err(error)) => {
                tracing::info!(task = %task.id, %error, "nobody says that it is drained");
                sleep_until(begun + UNTOLD).await;
            }
            Err(_) => {
                let waited = LONGEST;
                tracing::warn!(task = %task.id, ?waited, "stops before every node has drained it");
            }
        }
    }

    async fn ask(&self, task: &Task) -> Result<(), Status> {
        let line = self.line.borrow().clone();
        let line = line.ok_or_else(|| Status::unavailable("there is no session"))?;
        let request = AwaitDrainedRequest {
            session_id: line.session_id,
            service_id: task.service_id.clone(),
            network_ids: task.networks.iter().map(|n| n.network_id.clone()).collect(),
        };
        DispatcherClient::new(line.channel).await_drained(request).await.map(drop)
    }
}

/// Tells the manager of `line` what this node has applied, until the line breaks.
pub async fn acknowledge(
    line: Line,
    mut applied: watch::Receiver<Applied>,
) -> Result<std::convert::Infallible, Status> {
    let mut client = DispatcherClient::new(line.channel);
    loop {
        let Applied { session_id, version } = applied.borrow_and_update().clone();
        // Versions of an earlier session mean nothing to this one.
        if session_id == line.session_id {
            client.networks_applied(NetworksAppliedRequest { session_id, version }).await?;
        }
        if applied.changed().await.is_err() {
            // The networks have ended, and with them the agent.
            std::future::pending::<()>().await;
        }
    }
}
