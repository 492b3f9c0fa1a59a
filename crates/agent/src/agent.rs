//! Puts the parts of the agent together and ends them together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use swarm_api::SessionMessage;
use swarm_ca::Credentials;
use swarm_engine::spec::RemoveVolumes;
use swarm_engine::{ContainerState, Engine, EngineError};
use swarm_overlay_net::NodeNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assignment::Assignments;
use crate::container::NodeExecutor;
use crate::describe::NodeFacts;
use crate::drain::Drain;
use crate::fetch::Fetcher;
use crate::ledger::Ledger;
use crate::local_network::{LOCAL_SUBNET, LocalAddresses};
use crate::logs;
use crate::networks::Networks;
use crate::report::Reports;
use crate::session::{self, SessionLink};
use crate::worker::Worker;

/// Label on the containers of tasks.
const TASK_LABEL: &str = "com.docker.swarm.task.id";

/// What an agent is made of.
pub struct AgentConfig {
    /// The node's identity.
    pub credentials: Credentials,
    /// The node's engine.
    pub engine: Engine,
    /// The node's data plane.
    pub net: NodeNet,
    /// What the node is.
    pub facts: NodeFacts,
    /// Folder for the ledger and local addresses.
    pub state_dir: PathBuf,
    /// Managers to try; updated by the node as it learns.
    pub managers: watch::Receiver<Vec<String>>,
    /// Resolvers of the host, for names that the cluster does not know.
    pub upstreams: Vec<SocketAddr>,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its folder.
    #[error("{}: {source}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> AgentError + use<> {
    let path = path.to_owned();
    move |source| AgentError::State { path, source }
}

/// A running agent.
pub struct Agent {
    cancel: CancellationToken,
    tracker: TaskTracker,
    news: watch::Receiver<Option<SessionMessage>>,
    removed: watch::Receiver<Option<String>>,
    fetcher: Fetcher,
    assignments: watch::Receiver<Option<Arc<Assignments>>>,
    fatal: watch::Sender<Option<String>>,
}

impl Agent {
    /// Starts from what the node's disk and kernel hold; the session follows when a manager answers.
    pub async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let cancel = CancellationToken::new();
        let tracker = TaskTracker::new();
        let node_id = config.credentials.identity().node_id.clone();
        let (assignments_in, assignments) = watch::channel(None::<Arc<Assignments>>);
        let (news_in, news) = watch::channel(None);
        let (removed_in, removed) = watch::channel(None);
        let (channel_in, channel) = watch::channel(None);
        let (line_in, line) = watch::channel(None);
        let addresses_dir = config.state_dir.join("addresses");
        let local =
            LocalAddresses::open(&addresses_dir, LOCAL_SUBNET).map_err(failed(&addresses_dir))?;
        let ledger_dir = config.state_dir.join("tasks");
        let ledger = Ledger::open(&ledger_dir).map_err(failed(&ledger_dir))?;
        let fetcher = Fetcher::new(
            config.engine.images().clone(),
            config.credentials.clone(),
            assignments.clone(),
            config.managers.clone(),
        );
        let networks = Networks::new(
            config.net,
            node_id.clone(),
            local,
            config.upstreams,
            cancel.child_token(),
        );
        let executor = Arc::new(NodeExecutor::new(
            config.engine.clone(),
            networks.clone(),
            fetcher.clone(),
            config.facts,
            node_id.clone(),
            assignments.clone(),
            Drain::new(line),
        ));
        let reports = Reports::new(ledger.clone());
        let known = ledger.tasks().map_err(failed(&ledger_dir))?;
        let known: BTreeSet<String> = known.into_iter().map(|t| t.id).collect();
        let worker =
            Worker::restore(executor.clone(), ledger, reports.clone(), cancel.child_token())
                .map_err(failed(&ledger_dir))?;
        let fatal = watch::Sender::new(None);
        let actors = Actors { tracker: &tracker, fatal: &fatal };
        // Listed before anything new can begin.
        let left = LeftOvers::find(&config.engine, &networks, &known).await;
        actors.spawn("sweeper", left.remove(config.engine.clone(), networks.clone()));
        let applied = networks.applied();
        actors.spawn("networks", networks.run(assignments.clone()));
        actors.spawn("worker", worker.run(assignments.clone()));

        let publishing = logs::run(config.engine, node_id, channel, cancel.child_token());
        actors.spawn("log publisher", publishing);
        let link = SessionLink {
            credentials: config.credentials,
            managers: config.managers,
            executor,
            reports,
            assignments: assignments_in,
            news: news_in,
            removed: removed_in,
            channel: channel_in,
            line: line_in,
            applied,
        };
        actors.spawn("session", session::run(link, cancel.child_token()));
        tracker.close();
        Ok(Self { cancel, tracker, news, removed, fetcher, assignments, fatal })
    }

    /// News of the cluster: this node's object, the managers, the trusted root.
    pub fn news(&self) -> watch::Receiver<Option<SessionMessage>> {
        self.news.clone()
    }

    /// The managers' word that this node is none of the cluster's any more, if that is what they say.
    pub fn removed(&self) -> Option<String> {
        self.removed.borrow().clone()
    }

    /// Becomes `Some` with the reason when a part of the agent has died: the node must stop.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    /// Fetches images from the cluster.
    pub fn fetcher(&self) -> Fetcher {
        self.fetcher.clone()
    }

    /// Ends the agent; containers go on and are adopted by the next one.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tracker.wait().await;
    }

    /// What the managers assigned last.
    pub fn assignments(&self) -> watch::Receiver<Option<Arc<Assignments>>> {
        self.assignments.clone()
    }
}

/// Removes every container of a task from this node, as far as that goes; what failed. For a node that
/// leaves; its agent must have been stopped.
pub async fn remove_containers(engine: &Engine) -> Vec<EngineError> {
    let mut failures = Vec::new();
    for container in engine.list() {
        if container.labels.contains_key(TASK_LABEL)
            && let Err(error) = discard(engine, &container.id).await
        {
            failures.push(error);
        }
    }
    failures
}

/// Runs the parts of an agent; the panic of one is the end of all.
struct Actors<'a> {
    tracker: &'a TaskTracker,
    fatal: &'a watch::Sender<Option<String>>,
}

impl Actors<'_> {
    fn spawn(&self, name: &'static str, actor: impl Future<Output = ()> + Send + 'static) {
        let (actor, fatal) = (tokio::spawn(actor), self.fatal.clone());
        self.tracker.spawn(async move {
            if let Err(error) = actor.await {
                fatal.send_replace(Some(format!("the {name} of the agent has died: {error}")));
            }
        });
    }
}

/// Containers and sandboxes whose tasks the ledger does not know: a crash came between.
struct LeftOvers {
    containers: Vec<String>,
    sandboxes: Vec<String>,
}

impl LeftOvers {
    async fn find(engine: &Engine, networks: &Networks, known: &BTreeSet<String>) -> Self {
        let is_left =
            |c: &ContainerState| c.labels.get(TASK_LABEL).is_some_and(|task| !known.contains(task));
        let containers = engine.list().into_iter().filter(is_left).map(|c| c.id).collect();
        let mut sandboxes = networks.sandboxes().await;
        sandboxes.retain(|id| !known.contains(id));
        Self { containers, sandboxes }
    }

    async fn remove(self, engine: Engine, networks: Networks) {
        for id in &self.containers {
            if let Err(error) = discard(&engine, id).await {
                tracing::warn!(container = %id, %error, "remove left-over container");
            }
        }
        for id in &self.sandboxes {
            if let Err(error) = networks.release(id).await {
                tracing::warn!(sandbox = %id, %error, "remove left-over sandbox");
            }
        }
    }
}

/// Ends and removes a container that nobody waits for.
async fn discard(engine: &Engine, id: &str) -> Result<(), EngineError> {
    engine.stop(id, None, Some(Duration::ZERO)).await?;
    engine.remove(id, RemoveVolumes::Anonymous).await
}
