//! Clients work while everything goes wrong; then all is healed, and the group must come to rest
//! with one state and a history that makes sense.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Client, REGISTERS};
use crate::command::Options;
use crate::history::Record;
use crate::world::{Settings, World};
use crate::{fault, membership};

const CLIENTS: usize = 4;
/// Between healing and the next acknowledged write: two elections and what is still under way.
const PROGRESS: Duration = Duration::from_secs(15);
/// Until all members hold the same.
const REST: Duration = Duration::from_secs(30);

pub fn settings(seed: u64) -> Settings {
    Settings { snapshot_every: 15 + seed % 60, ..Settings::default() }
}

pub async fn run(world: Arc<World>, options: Options) -> Result<String, String> {
    membership::found(&world, if options.seed.is_multiple_of(3) { 5 } else { 3 }).await?;
    let record = Arc::new(Record::default());
    let (stop_clients, stop_faults) = (CancellationToken::new(), CancellationToken::new());
    let clients = TaskTracker::new();
    for number in 1..=CLIENTS {
        clients.spawn(Client::new(&world, &record, number).run(stop_clients.clone()));
    }
    let faults = tokio::spawn(fault::run(Arc::clone(&world), stop_faults.clone()));
    sleep(Duration::from_secs(options.storm)).await;
    stop_faults.cancel();
    faults.await.map_err(|e| format!("the faults ended: {e}"))?;
    let progress = heal(&world, &record).await?;
    stop_clients.cancel();
    clients.close();
    clients.wait().await;
    let rested = rest(&world).await?;
    let mut last = Client::new(&world, &record, CLIENTS + 2);
    for register in 0..REGISTERS {
        // It may come upon hosts that are in no group before it finds the leader.
        let asked = Instant::now();
        while last.read(register).await.is_none() {
            if asked.elapsed() > PROGRESS {
                return Err("progress: a register cannot be read after healing".to_owned());
            }
        }
    }
    record.check()?;
    let (answered, unknown) = record.counts();
    Ok(format!(
        "{answered} answers, {unknown} without, progress after {progress:?}, rest after {rested:?}"
    ))
}

/// Everything works again; how long it took until a write was acknowledged.
pub async fn heal(world: &Arc<World>, record: &Arc<Record>) -> Result<Duration, String> {
    world.trace.note("everything is healed");
    world.conditions().heal();
    for host in 0..world.settings.hosts {
        world.start(host).await;
    }
    Client::new(world, record, CLIENTS + 1).writes_within(PROGRESS).await
}

/// Waits until all members show the same tables.
pub async fn rest(world: &Arc<World>) -> Result<Duration, String> {
    let start = Instant::now();
    loop {
        let raft_ids: Vec<u64> =
            membership::members(world).iter().map(|m| m.member.raft_id).collect();
        let states: Vec<(u64, u64)> = world
            .states()
            .into_iter()
            .filter(|(host, ..)| {
                let id = world.life(*host).and_then(|life| life.replica.raft_id());
                id.is_some_and(|id| raft_ids.contains(&id))
            })
            .map(|(_, version, digest)| (version, digest))
            .collect();
        let same = states.windows(2).all(|pair| pair[0] == pair[1]);
        if same && !states.is_empty() {
            return Ok(start.elapsed());
        }
        if start.elapsed() > REST {
            return Err(format!("progress: members differ {REST:?} after healing: {states:?}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
