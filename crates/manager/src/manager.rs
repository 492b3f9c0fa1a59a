//! A manager as the node crate sees it: started, mounted on its listeners, stopped.
//!
//! It owns the replica, the leader's life and the way into the group. It opens no listener: the node does, and puts the
//! [`swarm_ca::Caller`] into each request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swarm_ca::{Caller, Credentials};
use swarm_raft_store::{DataKeys, Member, Removal, Replica, ReplicaConfig, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::address_book::AddressBook;
use crate::authorize::{Audience, Gate};
use crate::backup::Backup;
use crate::clock::Clock;
use crate::custody::{self, Custodian};
use crate::doorkeeper;
use crate::lead::Lead;
use crate::obstacle::{Contacts, Obstacle};
use crate::peers::Peers;
use crate::quorum;
use crate::raft_service::PeerTransport;
use crate::seat::Seat;
use crate::seed::ClusterSeed;
use crate::whereabouts::{Herald, Target, Told};
use entry::Remotes;

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
    pub data_keys: DataKeys,
    /// The time of day.
    pub clock: Clock,
    /// Where managers are that have moved; shared with whatever answers [`crate::whereabouts`] calls.
    pub book: AddressBook,
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
    herald: Herald,
    remotes: Remotes,
    seats: watch::Receiver<Seat>,
    // What keeps it out of the group, in words; `None` once it is in.
    entry: watch::Receiver<Option<String>>,
    obstacle: Obstacle,
    fatal: watch::Sender<Option<String>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Manager {
    /// Opens the store and starts. When bootstrapping it returns once the cluster exists; else see [`Manager::ready`],
    /// for the other managers must be able to reach this one's listener before it can be let in.
    pub async fn start(config: ManagerConfig, mode: Mode) -> Result<Self, ManagerError> {
        let identity = config.credentials.identity();
        let peers = || Peers::new(config.credentials.clone(), config.book.clone());
        let contacts = Contacts::default();
        let transport = PeerTransport::new(peers(), contacts.clone());
        let replica = ReplicaConfig::new(
            config.state_dir.join(RAFT_FOLDER),
            identity.node_id.clone(),
            config.advertise_addr.clone(),
            config.data_keys,
        );
        let replica = Replica::open(replica, Arc::new(transport)).await?;
        let seats = watch::Sender::new(Seat::Vacant);
        let outside = matches!(mode, Mode::Join { .. } | Mode::Restart { .. });
        let entry = watch::Sender::new(outside.then(|| "no manager was asked yet".to_owned()));
        let fatal = watch::Sender::new(None);
        let (seed, remotes) = match mode {
            Mode::Bootstrap(seed) => (Some(*seed), Vec::new()),
            Mode::Join { remotes } | Mode::Restart { remotes } => (None, remotes),
        };
        let manager = Self(Arc::new(Inner {
            replica: replica.clone(),
            clock: config.clock.clone(),
            peers: peers(),
            herald: Herald {
                credentials: config.credentials.clone(),
                book: config.book.clone(),
                own: config.advertise_addr,
            },
            remotes: Remotes::new(remotes),
            credentials: config.credentials.clone(),
            seats: seats.subscribe(),
            entry: entry.subscribe(),
            obstacle: Obstacle {
                replica,
                contacts,
                entry: entry.subscribe(),
                fatal: fatal.subscribe(),
            },
            fatal,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        manager.watch_replica();
        if let Some(keeping) = config.keeping {
            manager.keep(keeping);
        }
        let door = doorkeeper::run(manager.store(), config.credentials.clone());
        manager.supervise("doorkeeper", manager.until_cancelled(door));
        manager.settle_book(config.book);
        manager.lead(seed, seats);
        if !outside {
            manager.bootstrap().await?;
        }
        manager.enter(entry);
        Ok(manager)
    }

    /// Keeps the address book in step with the group's membership.
    fn settle_book(&self, book: AddressBook) {
        let (mut group, cancel) = (self.0.replica.group(), self.0.cancel.clone());
        self.supervise("address book", async move {
            loop {
                let members = group.borrow_and_update().clone();
                // None before it is in a group.
                if !members.is_empty() {
                    book.settle(&members);
                }
                match cancel.run_until_cancelled(group.changed()).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => return Ok(()),
                }
            }
        });
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
    fn enter(&self, state: watch::Sender<Option<String>>) {
        let entry = entry::Entry {
            replica: self.0.replica.clone(),
            herald: self.0.herald.clone(),
            remotes: self.0.remotes.clone(),
            own_id: self.0.credentials.identity().node_id.clone(),
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
        let safe = Arc::new(replica.clone());
        let cancel = self.0.cancel.child_token();
        let keys = custody::run(replica.store(), keeping.custodian, safe, cancel);
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

    /// Why this manager cannot serve, as far as it knows, and what would help.
    pub fn obstacle(&self) -> String {
        self.0.obstacle.say()
    }

    /// Looks for managers at these addresses, and goes on looking there for as long as it finds no way into the group.
    pub async fn reach(&self, addrs: &[String]) -> Vec<Told> {
        let group = self.0.replica.group().borrow().clone();
        let targets = addrs.iter().map(Target::any).collect();
        let told = self.0.herald.tell(targets, &group).await;
        self.0.remotes.name(addrs);
        told
    }

    /// Another manager says where it is. Believed of members only, of whom the caller must have proved to be one.
    pub fn heard(&self, caller: &Caller, addr: &str) -> Result<(), tonic::Status> {
        let cluster_id = self.0.credentials.identity().cluster_id.clone();
        Gate::new(self.store(), cluster_id).judge(caller, Audience::Peers)?;
        let Caller::Node { node_id, .. } = caller else {
            return Err(tonic::Status::permission_denied("only managers say where they are"));
        };
        let known = self.0.replica.group().borrow().iter().any(|m| m.node_id == *node_id);
        if known && self.0.herald.book.note(node_id, addr) {
            tracing::info!(manager = node_id, addr, "a manager has another address now");
        }
        Ok(())
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
        let group = self.0.replica.group().borrow().clone();
        let place = |m: Member| {
            let addr = self.0.herald.book.address(&m);
            (m.node_id, addr)
        };
        group.into_iter().map(place).collect()
    }

    /// What the managers come to without this one, as the leader sees them; without a leader, as this one does.
    pub async fn departure(&self) -> Removal {
        let own_id = self.0.credentials.identity().node_id.clone();
        let seat = self.0.seats.borrow().clone();
        let members = match &seat {
            Seat::Elsewhere { leader, .. } => quorum::members_at(&self.0.peers, leader).await,
            Seat::Here { .. } | Seat::Vacant => None,
        };
        let members = members.unwrap_or_else(|| self.0.replica.members());
        Removal::of(&members, |m| m.member.node_id == own_id)
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
