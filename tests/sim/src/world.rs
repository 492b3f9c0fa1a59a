//! The hosts, what is between them, and the eyes on them: every event is noted, and everything that
//! a replica shows is held against the laws.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm_ca::Root;
use swarm_manager::ClusterSeed;
use swarm_manager::clock::Clock;
use swarm_manager::simulation::{Lead, Seat};
use swarm_raft_store::simulation::{Disk, digest};
use swarm_raft_store::{Member, Replica, ReplicaConfig};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::host::{Host, Life, Seen, addr, node_id};
use crate::law::{Laws, Look};
use crate::network::{Conditions, Link};
use crate::trace::Trace;

/// Seals the simulated disks.
const KEY: [u8; 32] = [7; 32];
/// The wall clock when a run starts, nanoseconds since the epoch.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
/// Id of the simulated cluster.
pub const CLUSTER: &str = "cluster";

/// How the replicas are set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub hosts: usize,
    pub snapshot_every: u64,
    pub election: (Duration, Duration),
    /// Whether the disks lie about what is synced.
    pub lying_disks: bool,
    /// Whether whole managers run, or only their replicas.
    pub managers: bool,
    /// How wrong a host's wall clock may be.
    pub skew: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let election = (Duration::from_millis(1000), Duration::from_millis(1500));
        Self {
            hosts: 5,
            snapshot_every: 40,
            election,
            lying_disks: false,
            managers: false,
            skew: Duration::from_secs(3600),
        }
    }
}

pub struct World {
    pub trace: Trace,
    pub settings: Settings,
    random: Mutex<StdRng>,
    conditions: Mutex<Conditions>,
    hosts: Mutex<Vec<Host>>,
    laws: Mutex<Laws>,
    broken: Mutex<Option<String>>,
    /// Whether agents and tasks fail.
    troubled: AtomicBool,
    /// Managers that have given up.
    quitters: (mpsc::UnboundedSender<usize>, tokio::sync::Mutex<mpsc::UnboundedReceiver<usize>>),
    /// Cancelled once a law is broken.
    pub over: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, settings: Settings, verbose: bool) -> Arc<World> {
        let mut random = StdRng::seed_from_u64(seed);
        let skew = i64::try_from(settings.skew.as_nanos()).unwrap_or(i64::MAX);
        let hosts = (0..settings.hosts).map(|_| Host {
            disk: match settings.lying_disks {
                true => Disk::new(pace(&mut random)).lying(),
                false => Disk::new(pace(&mut random)),
            },
            life: None,
            lives: 0,
            powered: 0,
            skew: random.random_range(-skew..=skew),
            seen: Seen::default(),
        });
        let hosts = hosts.collect();
        let (sender, quitters) = mpsc::unbounded_channel();
        Arc::new(World {
            trace: Trace::new(verbose),
            settings,
            random: Mutex::new(random),
            conditions: Mutex::default(),
            hosts: Mutex::new(hosts),
            laws: Mutex::default(),
            broken: Mutex::default(),
            troubled: AtomicBool::new(false),
            quitters: (sender, tokio::sync::Mutex::new(quitters)),
            over: CancellationToken::new(),
        })
    }

    /// Draws from the run's randomness.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut lock(&self.random))
    }

    /// Whether something happens that has this probability.
    pub fn chance(&self, probability: f64) -> bool {
        self.draw(|random| random.random_bool(probability))
    }

    /// A number of milliseconds.
    pub fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.draw(|random| random.random_range(range)))
    }

    /// What is between the hosts.
    pub fn conditions(&self) -> MutexGuard<'_, Conditions> {
        lock(&self.conditions)
    }

    /// The time of day on a host.
    pub fn now_ns(&self, host: usize) -> i64 {
        let skew = lock(&self.hosts)[host].skew;
        EPOCH_NS + skew + i64::try_from(self.trace.now()).unwrap_or(0) * 1_000_000
    }

    /// The clock of a host.
    pub fn clock(self: &Arc<Self>, host: usize) -> Clock {
        let world = Arc::clone(self);
        let nanos = move || u64::try_from(world.now_ns(host)).unwrap_or(0);
        Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos()))
    }

    /// Whether agents and tasks are to fail now and then.
    pub fn troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    pub fn trouble(&self, troubled: bool) {
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// The next host whose manager has given up.
    pub async fn next_quitter(&self) -> usize {
        match self.quitters.1.lock().await.recv().await {
            Some(host) => host,
            // The sender is part of the world.
            None => std::future::pending().await,
        }
    }

    /// The manager that runs on a host.
    pub fn life(&self, host: usize) -> Option<Life> {
        lock(&self.hosts)[host].life.clone()
    }

    /// Whether this life of a host has not lost its power.
    pub fn is_powered(&self, host: usize, life: u32) -> bool {
        lock(&self.hosts)[host].powered == life
    }

    /// Hosts whose manager runs.
    pub fn up(&self) -> Vec<usize> {
        let hosts = lock(&self.hosts);
        (0..hosts.len()).filter(|host| hosts[*host].life.is_some()).collect()
    }

    /// The host that leads the highest term, as it believes itself.
    pub fn leader(&self) -> Option<(usize, Life)> {
        let lives = self.up().into_iter().filter_map(|host| Some((host, self.life(host)?)));
        let leading = lives.filter_map(|(host, life)| {
            let sight = life.replica.sight().filter(|sight| sight.leads)?;
            Some((sight.core_term, host, life))
        });
        leading.max_by_key(|(term, host, _)| (*term, *host)).map(|(_, host, life)| (host, life))
    }

    /// The replica's member entry, once it has an id.
    pub fn member(&self, host: usize, replica: &Replica) -> Option<Member> {
        let raft_id = replica.raft_id()?;
        Some(Member { raft_id, node_id: node_id(host), addr: addr(host) })
    }

    /// Starts the manager of a host from what is on its disk.
    pub async fn start(self: &Arc<Self>, host: usize) {
        let (disk, number) = {
            let mut hosts = lock(&self.hosts);
            let host = &mut hosts[host];
            if host.powered != 0 {
                return;
            }
            host.lives += 1;
            host.powered = host.lives;
            (host.disk.clone(), host.lives)
        };
        self.trace.note(format!("{} starts, life {number}", node_id(host)));
        let mut config = ReplicaConfig::new("", node_id(host), addr(host), KEY).on(disk);
        config.election = self.settings.election;
        config.snapshot_every = self.settings.snapshot_every;
        config.keep = self.settings.snapshot_every / 8;
        config.patience = Duration::from_secs(4);
        let link = Link { world: Arc::clone(self), host, life: number };
        match Replica::open(config, Arc::new(link)).await {
            Ok(replica) => {
                let (seats, seat) = watch::channel(Seat::Vacant);
                let life = Life { number, replica, died: CancellationToken::new(), seat };
                if self.settings.managers {
                    self.lead(host, &life, seats);
                }
                self.watch(host, &life);
                lock(&self.hosts)[host].life = Some(life);
                self.look(host);
            }
            Err(error) => self.break_law(format!(
                "{} does not start from what is on its disk: {error}",
                node_id(host)
            )),
        }
    }

    /// Lives the leader's life whenever this manager leads.
    fn lead(self: &Arc<Self>, host: usize, life: &Life, seats: watch::Sender<Seat>) {
        let lead = Lead {
            replica: life.replica.clone(),
            store: life.replica.store(),
            clock: self.clock(host),
            own_id: node_id(host),
            seed: (host == 0 && life.number == 1).then(seed).flatten(),
            seats,
            cancel: life.died.clone(),
        };
        let (world, died) = (Arc::clone(self), life.died.clone());
        tokio::spawn(async move {
            if let Err(reason) = lead.run().await
                && !died.is_cancelled()
            {
                world.trace.note(format!("{} gives up: {reason}", node_id(host)));
                // The world is there as long as anything runs in it.
                let _ = world.quitters.0.send(host);
            }
        });
    }

    /// A replica that gives up without having lost its power has a bug.
    fn watch(self: &Arc<Self>, host: usize, life: &Life) {
        let (world, life) = (Arc::clone(self), life.clone());
        tokio::spawn(async move {
            let mut fatal = life.replica.fatal();
            let ended = life.died.run_until_cancelled(fatal.wait_for(Option::is_some)).await;
            // Both may be seen at once.
            if let Some(Ok(reason)) = ended
                && !life.died.is_cancelled()
            {
                let reason = reason.clone().unwrap_or_default();
                world.break_law(format!("{} cannot go on: {reason}", node_id(host)));
            }
        });
    }

    /// Cuts the power of a host.
    pub fn crash(self: &Arc<Self>, host: usize) {
        let Some(life) = self.end(host) else { return };
        self.trace.note(format!("{} loses its power", node_id(host)));
        // What is left of it reaches nobody, and finds no disk.
        tokio::spawn(async move { life.replica.shutdown().await });
    }

    /// Stops the manager of a host in good order.
    pub async fn stop(self: &Arc<Self>, host: usize) {
        let Some(life) = self.life(host) else { return };
        self.trace.note(format!("{} is stopped", node_id(host)));
        life.died.cancel();
        life.replica.shutdown().await;
        self.end(host);
    }

    /// Takes a host's disk away: the manager is dead and has forgotten everything.
    pub fn wipe(self: &Arc<Self>, host: usize) {
        self.crash(host);
        self.trace.note(format!("{} loses its disk", node_id(host)));
        let disk = Disk::new(self.draw(pace));
        lock(&self.hosts)[host].disk = disk;
        lock(&self.laws).forget(host);
    }

    fn end(&self, host: usize) -> Option<Life> {
        let mut hosts = lock(&self.hosts);
        let host = &mut hosts[host];
        let life = host.life.take()?;
        life.died.cancel();
        host.powered = 0;
        host.disk = self.draw(|random| {
            let pace = pace(random);
            host.disk.cut(random, pace)
        });
        Some(life)
    }

    /// Holds what a host shows against the laws.
    pub fn look(&self, host: usize) {
        let mut hosts = lock(&self.hosts);
        let Host { life: Some(life), seen, .. } = &mut hosts[host] else { return };
        let Some(sight) = life.replica.sight() else { return };
        let view = life.replica.store().view();
        let fresh_life = seen.life != life.number;
        if !fresh_life && seen.sight == sight && seen.version == view.version() {
            return;
        }
        if fresh_life {
            *seen = Seen { life: life.number, ..Seen::default() };
        }
        let fresh = renew(seen, &life.replica);
        let digest = (fresh_life || seen.version != view.version()).then(|| digest(&view));
        let look = Look {
            host,
            before: seen,
            sight: &sight,
            fresh: &seen.log[fresh..],
            view: &view,
            digest,
        };
        let verdict = lock(&self.laws).look(&look);
        if fresh_life || seen.sight.leads != sight.leads || seen.sight.voters != sight.voters {
            let Look { sight, .. } = &look;
            self.trace.note(format!("{} {sight:?}", node_id(host)));
        }
        seen.sight = sight;
        seen.version = view.version();
        drop(hosts);
        if let Err(reason) = verdict {
            self.break_law(reason);
        }
    }

    /// Holds a message against the laws.
    pub fn hear(&self, said: &swarm_raft_store::simulation::Said) {
        if let Err(reason) = lock(&self.laws).hear(said) {
            self.break_law(reason);
        }
    }

    /// Ends the run: this must never happen.
    pub fn break_law(&self, reason: String) {
        self.trace.note(format!("VIOLATION {reason}"));
        lock(&self.broken).get_or_insert(reason);
        self.over.cancel();
    }

    /// Why the run failed, if it did.
    pub fn verdict(&self) -> Option<String> {
        lock(&self.broken).clone()
    }

    /// Version and digest of the tables of each host that runs.
    pub fn states(&self) -> Vec<(usize, u64, u64)> {
        let state = |host: usize| {
            let view = self.life(host)?.replica.store().view();
            Some((host, view.version(), digest(&view)))
        };
        self.up().into_iter().filter_map(state).collect()
    }
}

/// What a new cluster begins with. Its root is the one thing that no seed decides over; nothing
/// depends on its bytes.
fn seed() -> Option<ClusterSeed> {
    Some(ClusterSeed {
        root: Root::generate(CLUSTER, SystemTime::UNIX_EPOCH + Duration::from_secs(1)).ok()?,
        cluster_id: CLUSTER.to_owned(),
        node_id: node_id(0),
        hostname: node_id(0),
        availability: swarm_api::NodeAvailability::Active,
        default_addr_pool: Vec::new(),
        subnet_size: 0,
        data_path_port: 0,
    })
}

/// Brings the picture of a log up to date; where what is new in it begins.
fn renew(seen: &mut Seen, replica: &Replica) -> usize {
    let first = replica.entries_from(0).first().map_or(u64::MAX, |entry| entry.index);
    if let Some(last) = seen.log.last().copied() {
        let newer = replica.entries_from(last.index);
        if newer.first() == Some(&last) {
            let known = seen.log.len();
            seen.log.extend_from_slice(&newer[1..]);
            let gone = seen.log.iter().take_while(|entry| entry.index < first).count();
            seen.log.drain(..gone);
            return known.saturating_sub(gone);
        }
    }
    seen.log = replica.entries_from(0);
    0
}

/// Disks differ, and each has its bad moments.
fn pace(random: &mut StdRng) -> Box<dyn FnMut() -> Duration + Send> {
    let usual = random.random_range(1..8_u64);
    let mut own = StdRng::seed_from_u64(random.random());
    Box::new(move || {
        let millis = match own.random_range(0..200) {
            0 => own.random_range(50..1500),
            _ => own.random_range(1..=usual),
        };
        Duration::from_millis(millis)
    })
}
