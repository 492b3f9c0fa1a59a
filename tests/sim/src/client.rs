//! Clients: each does one thing after the other with the registers and remembers what it was told.
//!
//! A register is a secret of a known name; its value is in its data. Clients follow the leader,
//! retry with the same request id, and read behind a read barrier, as the manager's door does.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use swarm_api::{Annotations, Config, ConfigSpec, Secret, SecretSpec};
use swarm_raft_store::{StoreError, Transaction};
use tokio_util::sync::CancellationToken;

use crate::history::{Op, Record, Value};
use crate::host::{Life, of_node};
use crate::world::World;

pub const REGISTERS: usize = 3;
/// Names that clients fight over.
const NAMES: usize = 4;
/// How often a client tries before it gives up without an answer.
const TRIES: usize = 4;

/// What a write's transaction decided.
enum Decided {
    /// The register holds something else.
    Other,
    Failed(StoreError),
}

impl From<StoreError> for Decided {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What a client was told.
enum Told {
    Done,
    Other,
    /// Certainly nothing was changed.
    Nothing(StoreError),
    /// Perhaps it was.
    Perhaps,
}

pub struct Client {
    pub world: Arc<World>,
    pub record: Arc<Record>,
    pub number: usize,
    /// The host that it believes to lead.
    target: usize,
    count: u64,
}

impl Client {
    pub fn new(world: &Arc<World>, record: &Arc<Record>, number: usize) -> Self {
        let (world, record) = (Arc::clone(world), Arc::clone(record));
        Self { world, record, number, target: 0, count: 0 }
    }

    /// Works until told to stop; always finishes what it has begun.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut known: [Value; REGISTERS] = [None; REGISTERS];
        while !stop.is_cancelled() {
            let pause = self.world.millis(5..250);
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            let register = self.world.draw(|random| random.random_range(0..REGISTERS));
            match self.world.draw(|random| random.random_range(0..10)) {
                0..4 => {
                    if let Some(value) = self.read(register).await {
                        known[register] = value;
                    }
                }
                4..8 => {
                    let from = known[register];
                    let removes = from.is_some() && self.world.chance(0.1);
                    let to = (!removes).then(|| self.fresh());
                    if let Told::Done = self.swap(register, from, to).await {
                        known[register] = to;
                    }
                }
                _ => self.quarrel().await,
            }
        }
    }

    /// A value that nobody else writes.
    fn fresh(&mut self) -> u64 {
        self.count += 1;
        self.number as u64 * 1_000_000 + self.count
    }

    /// Somebody to ask: the one it last heard of, or anyone.
    fn ask(&mut self) -> Option<(usize, Life)> {
        if let Some(life) = self.world.life(self.target) {
            return Some((self.target, life));
        }
        let up = self.world.up();
        let at = self.world.draw(|random| random.random_range(0..up.len().max(1)));
        self.target = *up.get(at)?;
        Some((self.target, self.world.life(self.target)?))
    }

    /// Where to go next.
    fn redirect(&mut self, error: &StoreError) {
        let hinted = match error {
            StoreError::NotLeader { leader: Some(leader) } => of_node(&leader.node_id),
            _ => None,
        };
        let hosts = self.world.settings.hosts;
        self.target =
            hinted.unwrap_or_else(|| self.world.draw(|random| random.random_range(0..hosts)));
    }

    /// Reads a register; `None`: no answer.
    pub async fn read(&mut self, register: usize) -> Option<Value> {
        let begun = self.record.begin(register, None);
        for _ in 0..TRIES {
            if let Some((_, life)) = self.ask() {
                let barrier = life.replica.read_barrier();
                match life.died.run_until_cancelled(barrier).await {
                    Some(Ok(())) => {
                        let view = life.replica.store().view();
                        let value = view.by_name::<Secret>(&name(register)).and_then(value_of);
                        self.note(format!("reads register {register}: {value:?}"));
                        self.record.end(begun, Op::Read(value));
                        return Some(value);
                    }
                    Some(Err(error)) => self.redirect(&error),
                    None => {}
                }
            }
            tokio::time::sleep(self.world.millis(20..200)).await;
        }
        None
    }

    async fn swap(&mut self, register: usize, from: Value, to: Value) -> Told {
        let request = format!("c-{}", self.fresh());
        let id = self.world.draw(swarm_api::id::new_id);
        let begun = self.record.begin(register, Some(Op::Unknown(from, to)));
        let mut doubt = false;
        for _ in 0..TRIES {
            let told = match self.ask() {
                Some((host, life)) => {
                    let change =
                        |tx: &mut Transaction| exchange(tx, &name(register), from, to, &id);
                    self.write(host, &life, &request, change).await
                }
                None => Told::Nothing(StoreError::NotLeader { leader: None }),
            };
            match told {
                Told::Done => {
                    self.note(format!("register {register}: {from:?} becomes {to:?}"));
                    self.record.end(begun, Op::Swapped(from, to));
                    return Told::Done;
                }
                // An earlier try may still be on its way.
                Told::Other if doubt => break,
                Told::Other => {
                    self.note(format!("register {register} is not {from:?}"));
                    self.record.end(begun, Op::Refused(from));
                    return Told::Other;
                }
                Told::Perhaps => doubt = true,
                Told::Nothing(error) => self.redirect(&error),
            }
            tokio::time::sleep(self.world.millis(20..200)).await;
        }
        self.note(format!("register {register}: does not know whether {from:?} became {to:?}"));
        if doubt {
            self.record.end(begun, Op::Unknown(from, to));
        } else {
            self.record.forget(begun);
        }
        Told::Perhaps
    }

    async fn write(
        &self,
        host: usize,
        life: &Life,
        request: &str,
        change: impl FnMut(&mut Transaction) -> Result<(), Decided>,
    ) -> Told {
        let store = life.replica.store();
        let transaction = store.transact_once(self.world.now_ns(host), request, change);
        let told = life.died.run_until_cancelled(transaction).await;
        self.world.look(host);
        match told {
            Some(Ok(()) | Err(Decided::Failed(StoreError::Duplicate { .. }))) => Told::Done,
            Some(Err(Decided::Other)) => Told::Other,
            None
            | Some(Err(Decided::Failed(StoreError::Timeout { .. } | StoreError::Fatal(_)))) => {
                Told::Perhaps
            }
            Some(Err(Decided::Failed(error))) => Told::Nothing(error),
        }
    }

    /// Makes, or removes, something whose name others want too.
    async fn quarrel(&mut self) {
        let name = format!("u{}", self.world.draw(|random| random.random_range(0..NAMES)));
        let id = self.world.draw(swarm_api::id::new_id);
        let Some((host, life)) = self.ask() else { return };
        let change = |tx: &mut Transaction| {
            let owner = tx.view().by_name::<Config>(&name).map(|config| config.id.clone());
            match owner {
                Some(owner) => tx.remove::<Config>(&owner)?,
                None => tx.create(config(&id, &name))?,
            }
            Ok(())
        };
        if let Told::Nothing(error) = self.write(host, &life, "", change).await {
            self.redirect(&error);
        }
    }

    fn note(&self, what: String) {
        self.world.trace.note(format!("client {} {what}", self.number));
    }

    /// Waits until a write of its own is acknowledged.
    pub async fn writes_within(&mut self, bound: Duration) -> Result<Duration, String> {
        let start = tokio::time::Instant::now();
        while start.elapsed() < bound && !self.world.over.is_cancelled() {
            let to = self.fresh();
            let Some((host, life)) = self.ask() else { continue };
            let id = format!("progress-{to}");
            let change = |tx: &mut Transaction| Ok(tx.create(config(&id, &id))?);
            match self.write(host, &life, &id, change).await {
                Told::Done => return Ok(start.elapsed()),
                Told::Nothing(error) => self.redirect(&error),
                Told::Perhaps | Told::Other => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("progress: no write was acknowledged within {bound:?}"))
    }
}

fn name(register: usize) -> String {
    format!("r{register}")
}

fn value_of(secret: &Secret) -> Value {
    let data = secret.spec.as_ref()?.data.as_slice();
    data.try_into().ok().map(u64::from_be_bytes)
}

fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.to_owned(), ..Annotations::default() })
}

fn config(id: &str, name: &str) -> Config {
    let spec = ConfigSpec { annotations: annotations(name), ..ConfigSpec::default() };
    Config { id: id.to_owned(), spec: Some(spec), ..Config::default() }
}

/// Compare and swap.
fn exchange(
    tx: &mut Transaction,
    name: &str,
    from: Value,
    to: Value,
    id: &str,
) -> Result<(), Decided> {
    let found = tx.view().by_name::<Secret>(name).cloned();
    if found.as_ref().and_then(value_of) != from {
        return Err(Decided::Other);
    }
    let spec = to.map(|value| SecretSpec {
        annotations: annotations(name),
        data: value.to_be_bytes().to_vec(),
    });
    match (found, spec) {
        (Some(secret), Some(spec)) => tx.update(Secret { spec: Some(spec), ..secret })?,
        (Some(secret), None) => tx.remove::<Secret>(&secret.id)?,
        (None, Some(spec)) => {
            let id = id.to_owned();
            tx.create(Secret { id, spec: Some(spec), ..Secret::default() })?;
        }
        (None, None) => {}
    }
    Ok(())
}
