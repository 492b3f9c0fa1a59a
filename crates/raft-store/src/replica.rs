//! One member of the Raft group: opens what is on disk, answers the other members, and changes the
//! group.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::{Config, RaftState, SnapshotPolicy};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::Foresight;
use crate::backend::Backend;
use crate::consensus::Consensus;
use crate::ground::Ground;
use crate::raft::log::Log;
use crate::raft::machine::Machine;
use crate::raft::network::Peers;
use crate::raft::snapshot::SnapshotFile;
use crate::raft::wire::Identity;
use crate::raft::{Place, Raft, Types};
use crate::seal::Sealer;
use crate::subscription::Publisher;
use crate::{
    ArchiveCover, DataKeys, Leadership, Member, MemberState, Store, StoreError, Transport, View,
};
use departed::Departed;

mod answer;
mod bound;
mod departed;
mod follow;
#[cfg(feature = "simulation")]
mod observe;
mod rotate;

#[cfg(feature = "simulation")]
pub use observe::{Entry, Sight};

/// How a replica is set up. Times must be ordered: 4 `heartbeat` < `election.0` < `election.1`.
#[derive(Clone)]
pub struct ReplicaConfig {
    /// Folder of its own, made if missing; holds the log and the snapshot.
    pub dir: PathBuf,
    /// Id of the node it runs on.
    pub node_id: String,
    /// `host:port` where the other managers reach it.
    pub addr: String,
    /// Seal all that lies in `dir`; kept by the caller in a file that only root can read. More than
    /// one if [`Replica::reseal`] did not end a rotation.
    pub data_keys: DataKeys,
    /// Time between a leader's heartbeats.
    pub heartbeat: Duration,
    /// A follower that hears nothing for a random time in this range calls an election.
    pub election: (Duration, Duration),
    /// Entries after which a snapshot is made.
    pub snapshot_every: u64,
    /// Bytes of entries after which a snapshot is made however few they are, unless the last one was
    /// larger: then as many as that. The log never keeps more than about three times as much.
    pub snapshot_bytes: u64,
    /// Entries kept in the log behind a snapshot, for followers that lag a little.
    pub keep: u64,
    /// How long a write or a linearizable read waits for a majority.
    pub patience: Duration,
    /// The database of the log.
    pub backend: Backend,
    pub(crate) ground: Ground,
}

impl ReplicaConfig {
    /// Heartbeat 150 ms, election 1–1.5 s (measured: a write is accepted again within 2 s of the
    /// leader's death, and a busy machine does not lose its leader), a snapshot every 10,000
    /// entries or 64 MiB, 500 kept.
    pub fn new(
        dir: impl Into<PathBuf>,
        node_id: impl Into<String>,
        addr: impl Into<String>,
        data_keys: impl Into<DataKeys>,
    ) -> Self {
        Self {
            dir: dir.into(),
            node_id: node_id.into(),
            addr: addr.into(),
            data_keys: data_keys.into(),
            heartbeat: Duration::from_millis(150),
            election: (Duration::from_millis(1000), Duration::from_millis(1500)),
            snapshot_every: 10_000,
            snapshot_bytes: 64 << 20,
            keep: 500,
            patience: Duration::from_secs(10),
            backend: Backend::default(),
            ground: Ground::Host,
        }
    }

    /// The library calls an election once the leader's lease, as long as its longest election
    /// timeout, and then a random election timeout have passed: its range that adds up to ours.
    fn timeouts(&self) -> (Duration, Duration) {
        let longest = self.election.1 / 2;
        (self.election.0.saturating_sub(longest).max(self.heartbeat * 2), longest)
    }

    fn raft(&self) -> Result<Config, StoreError> {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let (shortest, longest) = self.timeouts();
        let config = Config {
            cluster_name: "swarm".into(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(shortest),
            election_timeout_max: millis(longest),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep,
            // A follower this far behind gets a snapshot instead of entries.
            replication_lag_threshold: self.snapshot_every.saturating_mul(2),
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
            enable_pre_vote: Some(true),
            // A leader that a majority does not answer pauses its heartbeats for an election's
            // length at a time: whom it still reaches may be needed to elect another.
            quorum_loss_probe_interval: Some(millis(longest) * 2),
            // What was committed last may not be on disk as such: a restarted leader is elected
            // anew.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map_err(|e| StoreError::Refused(format!("raft settings: {e}")))
    }
}

/// Sending and installing a snapshot: 100 MB over a slow link.
const SNAPSHOT_TIMEOUT_MS: u64 = 120_000;

/// A member of the group. Copies share it. Call [`Replica::shutdown`] before the last one goes.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

struct Inner {
    config: ReplicaConfig,
    transport: Arc<dyn Transport>,
    log: Log,
    snapshot: SnapshotFile,
    sealer: Arc<Sealer>,
    // Taken when the core starts.
    machine: std::sync::Mutex<Option<Machine>>,
    // Settled once this replica has a Raft id: at once, if it has one on disk.
    consensus: Arc<OnceLock<Arc<Consensus>>>,
    store: Store,
    leadership: watch::Sender<Leadership>,
    // Ordered by Raft id.
    group: watch::Sender<Vec<Member>>,
    departed: Departed,
    fatal: watch::Sender<Option<String>>,
    // Membership changes, and the start, take turns.
    changing: Mutex<()>,
    // So do rotations of the data key.
    resealing: Mutex<()>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Replica {
    /// Opens the folder and goes on where it left off: log, vote, snapshot. Damage fails with
    /// [`StoreError::Fatal`], which names the file.
    pub async fn open(
        mut config: ReplicaConfig,
        transport: Arc<dyn Transport>,
    ) -> Result<Replica, StoreError> {
        let fatal = watch::Sender::new(None);
        let publisher = Publisher::new();
        let foresight = Foresight::default();
        let outlets = (Arc::clone(&publisher), foresight.clone());
        let opening = open_files(config.clone(), fatal.clone(), outlets);
        let opened = opening.await.map_err(gone)?;
        // The sealer has them now, and forgets what is rotated away.
        config.data_keys.wipe();
        let consensus = Arc::default();
        let replica = Replica(Arc::new(Inner {
            store: Store::replicated(publisher, Arc::clone(&consensus), foresight),
            config,
            transport,
            log: opened.log,
            snapshot: opened.snapshot,
            sealer: opened.sealer,
            machine: std::sync::Mutex::new(Some(opened.machine)),
            consensus,
            leadership: watch::Sender::new(Leadership::default()),
            group: watch::Sender::new(Vec::new()),
            departed: Departed::default(),
            fatal,
            changing: Mutex::new(()),
            resealing: Mutex::new(()),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        if let Some(identity) = opened.identity {
            let resumed = replica.resume(identity).await;
            if let Err(error) = resumed {
                replica.shutdown().await;
                return Err(error);
            }
        }
        Ok(replica)
    }

    async fn resume(&self, identity: Identity) -> Result<(), StoreError> {
        let (ours, theirs) = (&self.0.config.node_id, &identity.node_id);
        if ours != theirs {
            let dir = self.0.config.dir.display();
            let text = format!("{dir} belongs to node {theirs}, but this is node {ours}");
            return Err(StoreError::Fatal(text));
        }
        self.start(identity.raft_id).await?;
        let consensus = self.consensus()?;
        let voters = |state: &RaftState<Types>| -> Vec<u64> {
            state.membership_state.effective().voter_ids().collect()
        };
        let voters = consensus.raft.with_raft_state(voters).await.map_err(gone)?;
        // Alone, there is nobody to wait for.
        if voters == [identity.raft_id] {
            consensus.raft.trigger().elect(false).await.map_err(gone)?;
        }
        Ok(())
    }

    async fn start(&self, raft_id: u64) -> Result<(), StoreError> {
        let inner = &self.0;
        let machine = inner.machine.lock().unwrap_or_else(|e| e.into_inner()).take();
        let Some(machine) = machine else {
            return Err(StoreError::Refused("this manager already has a raft id".to_owned()));
        };
        let peers = Peers(Arc::clone(&inner.transport), inner.config.ground.clone());
        let config = Arc::new(inner.config.raft()?);
        let raft = Raft::new(raft_id, config, peers, inner.log.clone(), machine).await;
        let raft = raft.map_err(gone)?;
        let resumed = raft.is_initialized().await.map_err(gone)?;
        let consensus = Arc::new(Consensus {
            raft,
            raft_id,
            resumed,
            lease: inner.config.election.1,
            patience: inner.config.patience,
        });
        // Whoever took the machine is the only one to come here.
        let _ = inner.consensus.set(Arc::clone(&consensus));
        self.follow(consensus);
        Ok(())
    }

    /// Whether it is, or was, in a group. Not yet so after [`Self::prepare`], or a
    /// [`Self::bootstrap`] cut short.
    pub fn is_initialised(&self) -> bool {
        self.0.consensus.get().is_some_and(|c| c.in_group())
    }

    /// Its Raft id: set once by [`Self::bootstrap`] or [`Self::prepare`], kept on disk.
    pub fn raft_id(&self) -> Option<u64> {
        self.0.consensus.get().map(|c| c.raft_id)
    }

    /// Makes this replica the first and only member of a new group; returns once it leads. Finishes
    /// what an earlier call that was cut short has begun, under the Raft id of that one.
    pub async fn bootstrap(&self, raft_id: u64) -> Result<(), StoreError> {
        if self.raft_id().is_none() {
            self.prepare(raft_id).await?;
        }
        let consensus = self.consensus()?;
        let Inner { config, .. } = &*self.0;
        let place = Place { node_id: config.node_id.clone(), addr: config.addr.clone() };
        let members = BTreeMap::from([(consensus.raft_id, place)]);
        let started = consensus.raft.initialize(members).await;
        started.map_err(|e| StoreError::Refused(format!("cannot start a new cluster: {e}")))?;
        consensus.leading_soon().await
    }

    /// Takes the Raft id that the leader gave this replica. It then waits to be contacted: the
    /// leader's [`Replica::add_member`] completes only after this.
    pub async fn prepare(&self, raft_id: u64) -> Result<(), StoreError> {
        let _turn = self.0.changing.lock().await;
        if self.raft_id().is_some() {
            return Err(StoreError::Refused("this manager already has a raft id".to_owned()));
        }
        if raft_id == 0 {
            return Err(StoreError::Refused("a raft id cannot be 0".to_owned()));
        }
        let identity = Identity { raft_id, node_id: self.0.config.node_id.clone() };
        let written = self.0.log.set_identity(&identity).await;
        written.map_err(gone)?;
        self.start(raft_id).await
    }

    /// The replicated store.
    pub fn store(&self) -> Store {
        self.0.store.clone()
    }

    /// Who leads; changes as this replica learns of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }

    /// After it, [`Store::view`] holds all that was acknowledged before it was called. Leader only.
    pub async fn read_barrier(&self) -> Result<(), StoreError> {
        self.consensus()?.read_barrier().await
    }

    /// Adds a member: learner, then, once it has caught up (at most two minutes), voter. Also gives
    /// a known member its new address. Leader only.
    pub async fn add_member(&self, member: Member) -> Result<(), StoreError> {
        let _turn = self.0.changing.lock().await;
        self.consensus()?.add_member(&member).await
    }

    /// Removes the member on this node; refused if that would lose the quorum. A leader that is to
    /// remove itself hands over and answers [`StoreError::NotLeader`] with its successor: ask that
    /// one. Leader only.
    pub async fn remove_member(&self, node_id: &str) -> Result<(), StoreError> {
        let _turn = self.0.changing.lock().await;
        self.consensus()?.remove_member(node_id).await
    }

    /// Hands leadership to another member that answers. Leader only.
    pub async fn transfer_leadership(&self) -> Result<(), StoreError> {
        self.consensus()?.transfer_leadership().await.map(|_| ())
    }

    /// All members, ordered by Raft id; none before this replica is in a group.
    pub fn members(&self) -> Vec<MemberState> {
        self.0.consensus.get().map(|c| c.members()).unwrap_or_default()
    }

    /// What an archive of `view`, which is this replica's, covers.
    pub fn cover(&self, view: &View, saved_at_ns: i64) -> ArchiveCover {
        let metrics = self.0.consensus.get().map(|c| c.metrics());
        let term = metrics.and_then(|m| m.last_applied).map_or(0, |at| at.leader_id.term);
        let members = self.members().into_iter().map(|m| m.member).collect();
        ArchiveCover { index: view.version(), term, saved_at_ns, members }
    }

    /// Who is in the group and where, ordered by Raft id; changes as this replica learns of it,
    /// which is before a change is committed.
    pub fn group(&self) -> watch::Receiver<Vec<Member>> {
        self.0.group.subscribe()
    }

    /// Becomes `Some` when this replica cannot go on (storage failed or is damaged, or the core
    /// died): the node must stop.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.0.fatal.subscribe()
    }

    /// Stops, writes what waits and closes the files. The store keeps its last view.
    pub async fn shutdown(&self) {
        self.0.cancel.cancel();
        if let Some(consensus) = self.0.consensus.get() {
            // An error says that the core panicked; there is nothing left to stop then.
            if let Err(error) = consensus.raft.shutdown().await {
                tracing::error!(%error, "the raft core did not stop cleanly");
            }
        }
        self.0.log.close().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn consensus(&self) -> Result<&Arc<Consensus>, StoreError> {
        self.0.consensus.get().ok_or(StoreError::NotLeader { leader: None })
    }
}

fn gone(error: impl std::fmt::Display) -> StoreError {
    StoreError::Fatal(error.to_string())
}

struct Opened {
    log: Log,
    snapshot: SnapshotFile,
    sealer: Arc<Sealer>,
    machine: Machine,
    identity: Option<Identity>,
}

async fn open_files(
    config: ReplicaConfig,
    fatal: watch::Sender<Option<String>>,
    (publisher, foresight): (Arc<Publisher>, Foresight),
) -> std::io::Result<Opened> {
    let file = config.dir.join(config.backend.file());
    let ground = config.ground.clone();
    let open = move || {
        let dir = &config.dir;
        let sealer = Arc::new(Sealer::new(&config.data_keys)?);
        let backend = config.ground.open_log(config.backend, dir)?;
        let snapshot = SnapshotFile::new(dir, Arc::clone(&sealer)).on(config.ground.clone());
        let machine = Machine::open(snapshot.clone(), publisher, foresight)?;
        // Last, because it starts a thread that keeps the file open.
        let (log, identity) = Log::open(backend, Arc::clone(&sealer), fatal)?;
        Ok(Opened { log, snapshot, sealer, machine, identity })
    };
    let opened = ground.blocking(open).await;
    // The database panics at some kinds of damage; nothing else here does.
    let panicked = |_| std::io::Error::other(format!("{} is damaged", file.display()));
    opened.map_err(panicked)?
}

#[cfg(test)]
mod tests;
