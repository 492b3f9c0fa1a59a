//! What is written, and by how many at once.
#![expect(clippy::unwrap_used, reason = "a measurement, run by hand")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use swarm_api::{Annotations, ContainerSpec, Task, TaskSpec, TaskStatus};
use swarm_raft_store::{Store, StoreError, Transaction};

use crate::figure;

/// Writers that fill a store.
const WRITERS: usize = 256;

/// A task as a small service makes them.
pub fn task(id: String, slot: u64) -> Task {
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

/// Each of `clients` creates one task after the other. Writes per second, p50 and p99 in
/// milliseconds, log entries per second.
pub async fn load(store: &Store, clients: usize, lasts: Duration) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (start, first) = (Instant::now(), store.view().version());
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let store = store.clone();
        running.spawn(async move {
            let mut took = Vec::new();
            while start.elapsed() < lasts {
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                let mut new = Some(task(format!("t{n:012}"), n as u64));
                let began = Instant::now();
                let create = |tx: &mut Transaction| {
                    let new = new.take().unwrap_or_else(|| task(format!("t{n:012}"), n as u64));
                    tx.create(new)
                };
                store.transact(1, create).await.unwrap();
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took: Vec<Duration> = running.join_all().await.concat();
    took.sort();
    let seconds = start.elapsed().as_secs_f64();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let entries = store.view().version() - first;
    format!("{} {} {} {}", took.len() as f64 / seconds, at(50), at(99), entries as f64 / seconds)
}

/// Writes `writes` times, so that `tasks` are there in the end. The version then.
pub async fn fill(store: &Store, tasks: usize, writes: usize) -> String {
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, next) = (store.clone(), Arc::clone(&next));
        running.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= writes {
                    return;
                }
                let id = format!("t{:012}", n % tasks);
                let put = |tx: &mut Transaction| match tx.view().get::<Task>(&id).cloned() {
                    None => tx.create(task(id.clone(), n as u64)),
                    Some(mut task) => {
                        task.status.get_or_insert_default().message = format!("write {n}");
                        tx.update(task)
                    }
                };
                store.transact(1, put).await.unwrap();
            }
        });
    }
    running.join_all().await;
    store.view().version().to_string()
}

fn add(store: &Store, first: u64, count: u64, runtime: &tokio::runtime::Runtime) {
    let add = |tx: &mut Transaction| {
        (first..first + count).try_for_each(|n| tx.create(task(format!("t{n:023}"), n)))
    };
    runtime.block_on(store.transact::<_, StoreError>(1, add)).unwrap();
}

/// Objects per second that one store takes in, 500 per transaction.
pub fn apply() {
    const TASKS: u64 = 300_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, start) = (Store::standalone(), Instant::now());
    (0..TASKS).step_by(500).for_each(|first| add(&store, first, 500, &runtime));
    let rate = TASKS as f64 / start.elapsed().as_secs_f64();
    figure("objects decided and applied, 500 per transaction", "/s", &[rate]);
}

/// Memory of this process, bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

/// What a stored task costs.
pub fn memory() {
    const TASKS: u64 = 100_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, before) = (Store::standalone(), resident());
    (0..TASKS).step_by(500).for_each(|first| add(&store, first, 500, &runtime));
    let each = (resident() - before) / TASKS as f64;
    figure("memory of a stored task", "bytes", &[each]);
}
