use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use swarm_api::{Annotations, Secret, SecretSpec};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{ChunkStream, RaftRpc, TransportError};

mod crash;
mod disk;
mod flips;
mod group;
mod platter;
mod power;
mod rescue;
mod rotation;

const KEY: [u8; 32] = [9; 32];

/// Replicas that reach each other in memory, unless they are cut off.
#[derive(Default)]
struct Hub {
    replicas: Mutex<HashMap<u64, Replica>>,
    cut: Mutex<HashSet<u64>>,
}

struct Link {
    hub: Arc<Hub>,
    from: u64,
}

impl Link {
    fn reach(&self, target: &Member) -> Result<Replica, TransportError> {
        let cut = self.hub.cut.lock().unwrap();
        let replica = self.hub.replicas.lock().unwrap().get(&target.raft_id).cloned();
        let open = !cut.contains(&self.from) && !cut.contains(&target.raft_id);
        replica.filter(|_| open).ok_or_else(|| TransportError::Unreachable {
            addr: target.addr.clone(),
            reason: "cut off".into(),
        })
    }
}

fn failure(target: &Member, error: &StoreError) -> TransportError {
    TransportError::Failed { addr: target.addr.clone(), reason: error.to_string() }
}

type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

impl Transport for Link {
    fn call<'a>(&'a self, target: &'a Member, rpc: RaftRpc, body: Vec<u8>) -> Carried<'a> {
        Box::pin(async move {
            let replica = self.reach(target)?;
            replica.handle(rpc, &body).await.map_err(|e| failure(target, &e))
        })
    }

    fn install_snapshot<'a>(&'a self, target: &'a Member, chunks: ChunkStream) -> Carried<'a> {
        Box::pin(async move {
            let replica = self.reach(target)?;
            replica.handle_snapshot(chunks).await.map_err(|e| failure(target, &e))
        })
    }
}

/// A group under test; its folders go with it.
struct Bench {
    hub: Arc<Hub>,
    dir: TempDir,
    snapshot_every: u64,
    /// Whether elections take as long as in a real cluster.
    unhurried: bool,
}

fn member(id: u64) -> Member {
    Member { raft_id: id, node_id: format!("m{id}"), addr: format!("m{id}:2377") }
}

fn config(dir: &Path, id: u64) -> ReplicaConfig {
    let node = format!("m{id}");
    let mut config = ReplicaConfig::new(dir.join(&node), &node, format!("{node}:2377"), KEY);
    config.heartbeat = Duration::from_millis(50);
    config.election = (Duration::from_millis(600), Duration::from_millis(1200));
    config.patience = Duration::from_secs(3);
    config
}

impl Bench {
    fn new() -> Self {
        Self::with_snapshots_every(10_000)
    }

    fn with_snapshots_every(snapshot_every: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { hub: Arc::default(), dir, snapshot_every, unhurried: false }
    }

    fn unhurried() -> Self {
        let mut bench = Self::new();
        bench.unhurried = true;
        bench
    }

    async fn open(&self, id: u64) -> Replica {
        let link = Arc::new(Link { hub: Arc::clone(&self.hub), from: id });
        let mut config = config(self.dir.path(), id);
        config.snapshot_every = self.snapshot_every;
        config.keep = 5;
        if self.unhurried {
            let defaults = ReplicaConfig::new("", "", "", KEY);
            (config.heartbeat, config.election) = (defaults.heartbeat, defaults.election);
        }
        let replica = Replica::open(config, link).await.unwrap();
        self.hub.replicas.lock().unwrap().insert(id, replica.clone());
        replica
    }

    /// A group of `n` voters; the first leads.
    async fn group(&self, n: u64) -> Vec<Replica> {
        let first = self.open(1).await;
        first.bootstrap(1).await.unwrap();
        let mut group = vec![first];
        for id in 2..=n {
            let replica = self.open(id).await;
            replica.prepare(id).await.unwrap();
            group[0].add_member(member(id)).await.unwrap();
            group.push(replica);
        }
        group
    }

    async fn stop(&self, replica: &Replica) {
        let id = replica.raft_id().unwrap();
        self.hub.replicas.lock().unwrap().remove(&id);
        replica.shutdown().await;
    }

    fn cut(&self, id: u64) {
        self.hub.cut.lock().unwrap().insert(id);
    }

    fn heal(&self, id: u64) {
        self.hub.cut.lock().unwrap().remove(&id);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Replicas hold the hub through their links: let go of them.
        self.hub.replicas.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Waits for a condition, for 10 s at most.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The one that leads, once there is one.
async fn leader(group: &[Replica]) -> Replica {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(replica) = group.iter().find(|r| r.leadership().borrow().is_leader) {
            return replica.clone();
        }
        assert!(Instant::now() < deadline, "no leader in time");
        sleep(Duration::from_millis(10)).await;
    }
}

fn secret(name: &str) -> Secret {
    let annotations = Some(Annotations { name: name.to_owned(), ..Annotations::default() });
    let spec = Some(SecretSpec { annotations, data: b"correct horse battery staple".to_vec() });
    Secret { id: format!("id-{name}"), spec, ..Secret::default() }
}

async fn write(replica: &Replica, name: &str) -> Result<(), StoreError> {
    replica.store().transact(1, |tx| tx.create(secret(name))).await
}

fn has(replica: &Replica, name: &str) -> bool {
    replica.store().view().by_name::<Secret>(name).is_some()
}
