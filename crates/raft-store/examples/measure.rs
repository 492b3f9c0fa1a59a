//! Speed of the store on this machine's disk, with replicas that reach each other in memory.
//!
//! `measure writes`: durable transactions per second with 1, 16, 64 and 256 writers on one and on
//! three replicas, against raw fdatasync in the same run. `measure failover N`: the leader dies N
//! times, how long until the next write is acknowledged. `measure memory`: what a stored task
//! costs. `measure apply`: objects per second that one replica applies.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use swarm_api::{Annotations, ContainerSpec, Task, TaskSpec, TaskStatus};
use swarm_raft_store::{
    ChunkStream, Member, RaftRpc, Replica, ReplicaConfig, Store, StoreError, Transport,
    TransportError,
};

const RUN: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Hub(Mutex<HashMap<u64, Replica>>);

type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

struct Link {
    hub: Arc<Hub>,
    from: u64,
}

impl Link {
    /// Neither the dead nor those who call them are answered.
    fn reach(&self, target: &Member) -> Result<Replica, TransportError> {
        let replicas = self.hub.0.lock().unwrap();
        let alive = replicas.get(&target.raft_id).filter(|_| replicas.contains_key(&self.from));
        alive.cloned().ok_or_else(|| TransportError::Unreachable {
            addr: target.addr.clone(),
            reason: "it is dead".into(),
        })
    }
}

fn failed(target: &Member, error: &StoreError) -> TransportError {
    TransportError::Failed { addr: target.addr.clone(), reason: error.to_string() }
}

impl Transport for Link {
    fn call<'a>(&'a self, target: &'a Member, rpc: RaftRpc, body: Vec<u8>) -> Carried<'a> {
        Box::pin(async move {
            let replica = self.reach(target)?;
            replica.handle(rpc, &body).await.map_err(|e| failed(target, &e))
        })
    }

    fn install_snapshot<'a>(&'a self, target: &'a Member, chunks: ChunkStream) -> Carried<'a> {
        Box::pin(async move {
            let replica = self.reach(target)?;
            replica.handle_snapshot(chunks).await.map_err(|e| failed(target, &e))
        })
    }
}

fn member(id: u64) -> Member {
    Member { raft_id: id, node_id: format!("m{id}"), addr: format!("m{id}:2377") }
}

async fn open(hub: &Arc<Hub>, dir: &Path, id: u64) -> Replica {
    let Member { node_id, addr, .. } = member(id);
    let config = ReplicaConfig::new(dir.join(&node_id), node_id, addr, [7; 32]);
    let link = Arc::new(Link { hub: Arc::clone(hub), from: id });
    let replica = Replica::open(config, link).await.unwrap();
    hub.0.lock().unwrap().insert(id, replica.clone());
    replica
}

async fn group(hub: &Arc<Hub>, dir: &Path, n: u64) -> Vec<Replica> {
    let first = open(hub, dir, 1).await;
    first.bootstrap(1).await.unwrap();
    let mut group = vec![first];
    for id in 2..=n {
        let replica = open(hub, dir, id).await;
        replica.prepare(id).await.unwrap();
        group[0].add_member(member(id)).await.unwrap();
        group.push(replica);
    }
    group
}

/// A task as a small service makes them.
fn task(id: String, slot: u64) -> Task {
    let annotations = Annotations { name: "web".into(), ..Annotations::default() };
    let container = ContainerSpec {
        image: "registry.example.com/team/web:1.2.3".into(),
        env: vec!["MODE=production".into(), "PORT=8080".into()],
        ..ContainerSpec::default()
    };
    Task {
        id,
        service_id: "4xk2m8v1q9c7b3n5z6p0w1e2r".into(),
        slot,
        node_id: "9c7b3n5z6p0w1e2r4xk2m8v1q".into(),
        service_annotations: Some(annotations),
        spec: Some(TaskSpec { container: Some(container), ..TaskSpec::default() }),
        status: Some(TaskStatus { message: "started".into(), ..TaskStatus::default() }),
        ..Task::default()
    }
}

/// Raw fdatasync of 256 appended bytes, per second.
fn raw_syncs(dir: &Path) -> f64 {
    let mut file = std::fs::File::create(dir.join("raw")).unwrap();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 256]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

async fn load(store: &Store, writers: usize) -> (f64, Vec<Duration>) {
    let mut running = tokio::task::JoinSet::new();
    let start = Instant::now();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..writers {
        let store = store.clone();
        running.spawn(async move {
            let mut took = Vec::new();
            while start.elapsed() < RUN {
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                let new = task(format!("t{n:012}"), n as u64);
                let began = Instant::now();
                store.transact(1, |tx| tx.create(new.clone())).await.unwrap();
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took: Vec<Duration> = running.join_all().await.concat();
    took.sort();
    (took.len() as f64 / start.elapsed().as_secs_f64(), took)
}

async fn writes() {
    for replicas in [1, 3] {
        for writers in [1, 16, 64, 256] {
            let dir = tempfile::tempdir_in(".").unwrap();
            let hub = Arc::default();
            let group = group(&hub, dir.path(), replicas).await;
            let before = raw_syncs(dir.path());
            let (rate, took) = load(&group[0].store(), writers).await;
            let raw = f64::midpoint(before, raw_syncs(dir.path()));
            println!(
                "replicas {replicas} writers {writers:3}: {rate:8.0}/s, p50 {:?} p99 {:?}; raw \
                 fdatasync {raw:.0}/s, ratio {:.1}",
                percentile(&took, 50),
                percentile(&took, 99),
                rate / raw
            );
            hub.0.lock().unwrap().clear();
            for replica in group {
                replica.shutdown().await;
            }
        }
    }
}

async fn failover(rounds: usize) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let hub: Arc<Hub> = Arc::default();
    drop(group(&hub, dir.path(), 3).await);
    let mut took = Vec::new();
    for round in 0..rounds {
        let leader = loop {
            let replicas = hub.0.lock().unwrap().clone();
            let leads = |r: &Replica| r.leadership().borrow().is_leader;
            let follows = |r: &Replica| r.leadership().borrow().leader.is_some();
            if replicas.len() == 3
                && replicas.values().all(follows)
                && let Some((id, _)) = replicas.iter().find(|(_, r)| leads(r))
            {
                break *id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::time::sleep(Duration::from_millis(300 + (round as u64 * 37) % 150)).await;
        let dead = hub.0.lock().unwrap().remove(&leader).unwrap();
        let (killed, mut tries) = (Instant::now(), 0);
        let rest: Vec<Replica> = hub.0.lock().unwrap().values().cloned().collect();
        'accepted: loop {
            for replica in &rest {
                let id = format!("f{round}-{tries}");
                tries += 1;
                let store = replica.store();
                let write = store.transact(1, |tx| tx.create(task(id.clone(), 1)));
                if write.await.is_ok() {
                    break 'accepted;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.push(killed.elapsed());
        dead.shutdown().await;
        drop(dead);
        open(&hub, dir.path(), leader).await;
    }
    took.sort();
    println!(
        "{rounds} dead leaders, next write after: p50 {:?} p90 {:?} p99 {:?} most {:?}",
        percentile(&took, 50),
        percentile(&took, 90),
        percentile(&took, 99),
        percentile(&took, 100)
    );
}

/// Memory of this process, bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

async fn memory() {
    const TASKS: u64 = 100_000;
    let (store, before) = (Store::standalone(), resident());
    for first in (0..TASKS).step_by(1000) {
        let add = |tx: &mut swarm_raft_store::Transaction| {
            (first..first + 1000).try_for_each(|n| tx.create(task(format!("t{n:023}"), n)))
        };
        store.transact::<_, StoreError>(1, add).await.unwrap();
    }
    println!(
        "{TASKS} tasks: {:.0} bytes each (the struct alone {})",
        (resident() - before) / TASKS as f64,
        size_of::<Task>()
    );
}

async fn apply() {
    const TASKS: u64 = 200_000;
    let (store, start) = (Store::standalone(), Instant::now());
    for first in (0..TASKS).step_by(500) {
        let add = |tx: &mut swarm_raft_store::Transaction| {
            (first..first + 500).try_for_each(|n| tx.create(task(format!("t{n:012}"), n)))
        };
        store.transact::<_, StoreError>(1, add).await.unwrap();
    }
    let rate = TASKS as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} objects/s decided and applied, 500 per transaction");
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("writes") => writes().await,
        Some("failover") => {
            failover(words.get(1).map_or(20, |n| n.parse().unwrap())).await;
        }
        Some("memory") => memory().await,
        Some("apply") => apply().await,
        _ => println!("usage: measure writes | failover N | memory | apply"),
    }
}
