//! What is between the hosts: messages take their time, overtake each other, come twice or not at
//! all, and links fail one way or both.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use swarm_raft_store::{ChunkStream, Member, RaftRpc, Transport, TransportError, simulation};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;

use crate::host::{addr, node_id, of_addr};
use crate::world::World;

/// How bad it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// From, to: nothing gets through.
    pub cut: BTreeSet<(usize, usize)>,
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message comes a second time.
    pub repeat: f64,
    /// Probability that a message takes long, up to the longest.
    pub spike: f64,
    pub longest: Duration,
    /// What a message usually takes, milliseconds.
    pub usual: (u64, u64),
}

impl Default for Conditions {
    fn default() -> Self {
        let (cut, longest) = (BTreeSet::new(), Duration::from_millis(1500));
        Self { cut, loss: 0.0, repeat: 0.0, spike: 0.0, longest, usual: (1, 4) }
    }
}

impl Conditions {
    /// Cuts every link between the two sides.
    pub fn part(&mut self, one: &[usize], other: &[usize]) {
        for a in one {
            for b in other {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }

    /// All links work again, and well.
    pub fn heal(&mut self) {
        *self = Self::default();
    }
}

enum Fate {
    Arrives(Duration),
    Lost,
    /// Somebody on the way says no.
    Refused(Duration),
}

impl World {
    fn fate(&self, from: usize, to: usize) -> Fate {
        let conditions = self.conditions().clone();
        self.draw(|random| {
            let (least, most) = conditions.usual;
            let took = match random.random_bool(conditions.spike) {
                true => random.random_range(most..=most + conditions.longest.as_millis() as u64),
                false => random.random_range(least..=most),
            };
            let took = Duration::from_millis(took);
            match conditions.cut.contains(&(from, to)) {
                true if random.random_bool(0.3) => Fate::Refused(took),
                true => Fate::Lost,
                false if random.random_bool(conditions.loss) => Fate::Lost,
                false => Fate::Arrives(took),
            }
        })
    }
}

/// A manager's way to the others.
pub struct Link {
    pub world: Arc<World>,
    pub host: usize,
    pub life: u32,
}

type Answer = Result<Vec<u8>, TransportError>;
type Carried<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

enum Cargo {
    Call(RaftRpc, Vec<u8>),
    Snapshot(Vec<Vec<u8>>),
}

impl Transport for Link {
    fn call<'a>(&'a self, target: &'a Member, rpc: RaftRpc, body: Vec<u8>) -> Carried<'a> {
        if let Some(said) = simulation::read(rpc, &body)
            && self.lives()
        {
            self.world.hear(&said);
            let from = node_id(self.host);
            self.world.trace.note(format!("{from} to {}: {}", target.node_id, said.words));
        }
        Box::pin(self.carry(target, Cargo::Call(rpc, body)))
    }

    fn install_snapshot<'a>(&'a self, target: &'a Member, chunks: ChunkStream) -> Carried<'a> {
        Box::pin(async move {
            let mut whole: Vec<Vec<u8>> = chunks.filter_map(Result::ok).collect().await;
            // A connection may break in the middle.
            if self.world.chance(0.1) {
                let kept = self.world.draw(|random| random.random_range(0..whole.len()));
                whole.truncate(kept);
            }
            self.world.trace.note(format!(
                "{} to {}: a snapshot in {} parts",
                node_id(self.host),
                target.node_id,
                whole.len()
            ));
            self.carry(target, Cargo::Snapshot(whole)).await
        })
    }
}

/// What no answer comes to: connections are kept alive by asking, and given up when nothing is
/// heard, as `swarm-ca` sets them up.
const GIVEN_UP: Duration = Duration::from_secs(5);

async fn lost(to: usize) -> Answer {
    tokio::time::sleep(GIVEN_UP).await;
    unreachable(to, "the connection is dead")
}

fn unreachable(to: usize, reason: &str) -> Answer {
    Err(TransportError::Unreachable { addr: addr(to), reason: reason.to_owned() })
}

impl Link {
    fn lives(&self) -> bool {
        self.world.is_powered(self.host, self.life)
    }

    async fn carry(&self, target: &Member, cargo: Cargo) -> Answer {
        let Some(to) = of_addr(&target.addr) else { return std::future::pending().await };
        if !self.lives() {
            return lost(to).await;
        }
        let took = match self.world.fate(self.host, to) {
            Fate::Lost => return lost(to).await,
            Fate::Refused(took) => {
                tokio::time::sleep(took).await;
                return unreachable(to, "no way there");
            }
            Fate::Arrives(took) => took,
        };
        let repeat = self.world.conditions().repeat;
        if let Cargo::Call(rpc, body) = &cargo
            && self.world.chance(repeat)
        {
            let again = took + self.world.millis(1..400);
            let copy = Cargo::Call(*rpc, body.clone());
            tokio::spawn(deliver(Arc::clone(&self.world), (self.host, to), copy, again, None));
        }
        let (answered, answer) = oneshot::channel();
        // Once sent, it is on its way, whoever still waits for the answer.
        let way = (self.host, to);
        tokio::spawn(deliver(Arc::clone(&self.world), way, cargo, took, Some(answered)));
        match answer.await {
            Ok(answer) => answer,
            Err(_) => lost(to).await,
        }
    }
}

async fn deliver(
    world: Arc<World>,
    (from, to): (usize, usize),
    cargo: Cargo,
    took: Duration,
    answered: Option<oneshot::Sender<Answer>>,
) {
    tokio::time::sleep(took).await;
    let answer = match world.life(to) {
        None => unreachable(to, "connection refused"),
        Some(life) => {
            let answer = match cargo {
                Cargo::Call(rpc, body) => life.replica.handle(rpc, &body).await,
                Cargo::Snapshot(chunks) => {
                    let chunks = tokio_stream::iter(chunks.into_iter().map(Ok));
                    life.replica.handle_snapshot(Box::pin(chunks)).await
                }
            };
            if life.died.is_cancelled() {
                return;
            }
            world.look(to);
            answer.map_err(|e| TransportError::Failed { addr: addr(to), reason: e.to_string() })
        }
    };
    let Some(answered) = answered else { return };
    if let Fate::Arrives(took) = world.fate(to, from) {
        tokio::time::sleep(took).await;
        world.look(from);
        // Whoever asked may have given up.
        let _ = answered.send(answer);
    }
}
