//! A manager as the node crate sees it: started, mounted on its listeners, stopped.
//!
//! It owns the replica, the leader's life and the way into the group. It opens no listener: the node does, and puts the
//! [`swarm_ca::Caller`] into each request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swarm_ca::Credentials;
use swarm_raft_store::{Replica, ReplicaConfig, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::backup::Backup;
use crate::clock::Clock;
use crate::custody::{self, Custodian};
use crate::doorkeeper;
use crate::lead::Lead;
use crate::peers::Peers;
use crate::raft_service::PeerTransport;
use crate::seat::Seat;
use crate::seed::ClusterSeed;

mod entry;
mod routes;
#[cfg(test)]
mod tests;

/// How long the first manager may take until it leads: it has nobody to wait for.
const BOOTSTRAP_WAIT: Duration = Duration::from_secs(30);

/// A leader that goes hands over first, so that nobody waits for an election; but not for long.
const HANDOVER: Duration = Duration::from_secs(3);

pub(crate) use entry::new_raft_id;

/// The replica's folder within the manager's.
pub(crate) const RAFT_FOLDER: &str = "raft";

/// What a manager needs to run.
pub struct ManagerConfig {
    /// This node's identity, with a manager's certificate.
    pub credentials: Credentials,
    /// Folder of the manager's own; made if missing.
    pub state_dir: PathBuf,
    /// `host:port` where the other managers reach this one's listener.
    pub advertise_addr: String,
    /// Seals what is stored.
    pub data_key: [u8; 32],
    /// The time of day.
    pub clock: Clock,
    /// Keys and copies beside the store; `None` where only the store matters.
    pub keeping: Option<Keeping>,
}

/// What a manager keeps on its node besides its store.
#[derive(Clone)]
pub struct Keeping {
    /// Keeps the keys.
    pub custodian: Arc<dyn Custodian>,
    /// Folder of the snapshots that are made by themselves.
    pub snapshots: PathBuf,
}

/// How it comes into its cluster.
pub enum Mode {
    /// As the first manager of a new one.
    Bootstrap(Box<ClusterSeed>),
    /// Through the managers at these addresses (`host:port`). Harmless if it is a member already.
    Join {
        /// Any of them will do.
        remotes: Vec<String>,
    },
    /// As the member that it was; `remotes` helps if joining was interrupted.
    Restart {
        /// Any of them will do; may be empty.
        remotes: Vec<String>,
    },
}

/// Why a manager does not run.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The store cannot be opened or started.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No leader within the time given.
    #[error("the manager is not ready after {} s: {reason}", waited.as_secs())]
    NotReady {
        /// How long it waited.
        waited: Duration,
        /// What it waits for.
        reason: String,
    },
}

/// A running manager. Clones share it.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

struct Inner {
    replica: Replica,
    clock: Clock,
    credentials: Credentials,
    // For requests passed on; Raft has connections of its own.
    peers: Peers,
    seats: watch::Receiver<Seat>,
    // What keeps it out of the group, in words; `None` once it is in.
    entry: watch::Receiver<Option<String>>,
    fatal: watch::Sender<Option<String>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Manager {
    /// Opens the store and starts. When bootstrapping it returns once the cluster exists; else see [`Manager::ready`],
    /// for the other managers must be able to reach this one's listener before it can be let in.
    pub async fn start(config: ManagerConfig, mode: Mode) -> Result<Self, ManagerError> {
        let identity = config.credentials.identity();
        let transport = PeerTransport::new(Peers::new(config.credentials.clone()));
        let replica = ReplicaConfig::new(
            config.state_dir.join(RAFT_FOLDER),
            identity.node_id.clone(),
            config.advertise_addr.clone(),
            config.data_key,
        );
        let replica = Replica::open(replica, Arc::new(transport)).await?;
        let seats = watch::Sender::new(Seat::Vacant);
        let outside = matches!(mode, Mode::Join { .. } | Mode::Restart { .. });
        let entry = watch::Sender::new(outside.then(|| "no manager was asked yet".to_owned()));
        let manager = Self(Arc::new(Inner {
            replica: replica.clone(),
            clock: config.clock.clone(),
            peers: Peers::new(config.credentials.clone()),
            credentials: config.credentials.clone(),
            seats: seats.subscribe(),
            entry: entry.subscribe(),
            fatal: watch::Sender::new(None),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        manager.watch_replica();
        if let Some(keeping) = config.keeping {
            manager.keep(keeping);
        }
        let door = doorkeeper::run(replica.store(), config.credentials.clone());
        manager.supervise("doorkeeper", manager.until_cancelled(door));
        let (seed, remotes) = match mode {
            Mode::Bootstrap(seed) => (Some(*seed), None),
            Mode::Join { remotes } | Mode::Restart { remotes } => (None, Some(remotes)),
        };
        manager.lead(seed, seats);
        match remotes {
            Some(remotes) => manager.enter(remotes, config.advertise_addr, entry),
            None => manager.bootstrap().await?,
        }
        Ok(manager)
    }

    async fn bootstrap(&self) -> Result<(), ManagerError> {
        let started = async {
            // A first try that was interrupted has left a replica.
            if !self.0.replica.is_initialised() {
                self.0.replica.bootstrap(entry::new_raft_id()).await?;
            }
            self.ready(BOOTSTRAP_WAIT).await
        };
        let outcome = started.await;
        if outcome.is_err() {
            self.shutdown().await;
        }
        outcome
    }

    fn lead(&self, seed: Option<ClusterSeed>, seats: watch::Sender<Seat>) {
        let lead = Lead {
            replica: self.0.replica.clone(),
            store: self.0.replica.store(),
            clock: self.0.clock.clone(),
            own_id: self.0.credentials.identity().node_id.clone(),
            seed,
            seats,
            cancel: self.0.cancel.child_token(),
        };
        self.supervise("leader's life", lead.run());
    }

    /// Lets this replica into the group, if it is not in it yet.
    fn enter(&self, remotes: Vec<String>, addr: String, state: watch::Sender<Option<String>>) {
        let entry = entry::Entry {
            replica: self.0.replica.clone(),
            credentials: self.0.credentials.clone(),
            remotes,
            addr,
            state,
        };
        self.supervise("way into the group", self.until_cancelled(entry.run()));
    }

    fn watch_replica(&self) {
        let (mut fatal, cancel) = (self.0.replica.fatal(), self.0.cancel.clone());
        self.supervise("replica", async move {
            match cancel.run_until_cancelled(fatal.wait_for(Option::is_some)).await {
                Some(Ok(reason)) => Err(reason.clone().unwrap_or_default()),
                // It, or this manager, was shut down.
                Some(Err(_)) | None => Ok(()),
            }
        });
    }

    fn keep(&self, keeping: Keeping) {
        let (replica, clock) = (self.0.replica.clone(), self.0.clock.clone());
        let keys = custody::run(replica.store(), keeping.custodian, self.0.cancel.child_token());
        self.supervise("keeper of the keys", keys);
        let backup = Backup { replica, clock, dir: keeping.snapshots };
        self.supervise("keeper of snapshots", backup.run(self.0.cancel.child_token()));
    }

    /// `work`, until this manager is shut down.
    fn until_cancelled<F>(&self, work: F) -> impl Future<Output = Result<(), String>> + use<F>
    where
        F: Future<Output = Result<(), String>>,
    {
        let cancel = self.0.cancel.clone();
        async move { cancel.run_until_cancelled(work).await.unwrap_or(Ok(())) }
    }

    /// Runs an actor; its failure or panic is this manager's end.
    fn supervise(
        &self,
        name: &'static str,
        actor: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let fatal = self.0.fatal.clone();
        let actor = tokio::spawn(actor);
        self.0.tasks.spawn(async move {
            let reason = match actor.await {
                Ok(Err(reason)) => reason,
                Ok(Ok(())) => return,
                Err(error) => format!("the {name} has panicked: {error}"),
            };
            fatal.send_if_modified(|state| {
                let first = state.is_none();
                state.get_or_insert(reason);
                first
            });
        });
    }

    /// All services, each authorised, each answered here or by the leader. For the node's listeners, which put the
    /// [`swarm_ca::Caller`] into every request's extensions.
    pub fn routes(&self) -> Routes {
        routes::routes(&self.0)
    }

    /// Waits until this manager votes, a leader is known, and it can serve. Earlier nobody may count on it: were the
    /// others to lose one, its vote would be missing.
    pub async fn ready(&self, within: Duration) -> Result<(), ManagerError> {
        let (mut seats, mut entry) = (self.0.seats.clone(), self.0.entry.clone());
        let both = async {
            let entered = entry.wait_for(Option::is_none).await.is_ok();
            entered && seats.wait_for(Seat::is_taken).await.is_ok()
        };
        match tokio::time::timeout(within, both).await {
            Ok(true) => Ok(()),
            _ => Err(ManagerError::NotReady { waited: within, reason: self.obstacle() }),
        }
    }

    fn obstacle(&self) -> String {
        let failed = self.0.fatal.borrow().clone();
        let outside = failed.or_else(|| self.0.entry.borrow().clone());
        outside.unwrap_or_else(|| "no leader is known".into())
    }

    /// Whether this manager votes, a leader is known, and it can serve.
    pub fn is_ready(&self) -> bool {
        self.0.entry.borrow().is_none() && self.0.seats.borrow().is_taken()
    }

    /// Node id and address of the leader, if this manager or another leads. For `info`.
    pub fn leader(&self) -> Option<(String, String)> {
        let leader = self.0.replica.leadership().borrow().leader.clone()?;
        Some((leader.node_id, leader.addr))
    }

    /// Node ids and addresses of all managers, this one among them.
    pub fn managers(&self) -> Vec<(String, String)> {
        let members = self.0.replica.members().into_iter();
        members.map(|m| (m.member.node_id, m.member.addr)).collect()
    }

    /// The store as replicated here; it may lag behind the leader's.
    pub fn store(&self) -> Store {
        self.0.replica.store()
    }

    /// Becomes `Some` with the reason when this manager cannot go on: the node must stop.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.0.fatal.subscribe()
    }

    /// Ends all requests and actors, hands leadership over if it can, and closes the store.
    pub async fn shutdown(&self) {
        let leads = self.0.replica.leadership().borrow().is_leader;
        if leads && self.0.replica.members().len() > 1 {
            let handover = self.0.replica.transfer_leadership();
            if let Ok(Err(error)) = tokio::time::timeout(HANDOVER, handover).await {
                tracing::info!(%error, "leadership could not be handed over");
            }
        }
        self.0.cancel.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.replica.shutdown().await;
    }
}
