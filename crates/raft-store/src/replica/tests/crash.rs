//! A process killed at random moments under load: what it acknowledged is there when it is opened again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const DIR: &str = "SWARM_RAFT_STORE_CRASH_DIR";
const BACKEND: &str = "SWARM_RAFT_STORE_CRASH_BACKEND";
/// Writers side by side in the process that is killed.
const WRITERS: usize = 6;
/// How many cycles a test run makes; `cargo xtask crash` asks for more.
const CYCLES: u64 = 100;
/// Stores that are crashed side by side: most of a cycle is waiting.
const LANES: u64 = 4;
/// Early kills hit the start of the process and its recovery, late ones come after a first write.
const EARLY_MS: std::ops::Range<u64> = 0..160;
const LATE_MS: std::ops::Range<u64> = 0..40;

/// How often to crash, and what the moments are drawn from.
pub(super) fn cycles(usual: u64) -> (u64, StdRng) {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let share = |all: u64| all * usual / CYCLES;
    let cycles = number("SWARM_CRASH_CYCLES").map_or(usual, share).max(1);
    (cycles, StdRng::seed_from_u64(number("SWARM_CRASH_SEED").unwrap_or(1)))
}

/// Killed and reaped also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn counter(replica: &Replica, name: &str) -> u64 {
    let view = replica.store().view();
    let object = view.by_name::<Secret>(name);
    object.map_or(0, |s| u64::from_be_bytes(s.spec.as_ref().unwrap().data[..8].try_into().unwrap()))
}

/// How far a writer came. What one transaction wrote must be there as a whole.
fn reached(replica: &Replica, writer: usize) -> u64 {
    let (count, twin) = (counter(replica, &format!("w{writer}")), format!("twin{writer}"));
    assert_eq!(count, counter(replica, &twin), "half of a transaction of writer {writer}");
    let newest = (count > 0).then(|| format!("w{writer}-{count}"));
    assert!(newest.is_none_or(|name| has(replica, &name)), "writer {writer} lacks its {count}th");
    count
}

fn say(line: &str) {
    // One write, so that lines of several writers do not mix.
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

async fn write_next(store: Store, writer: usize, n: u64) {
    let set = |tx: &mut crate::Transaction, name: String| {
        let mut object = secret(&name);
        object.spec.as_mut().unwrap().data = n.to_be_bytes().to_vec();
        match tx.view().by_name::<Secret>(&name).map(|s| s.meta) {
            Some(meta) => tx.update(Secret { meta, ..object }),
            None => tx.create(object),
        }
    };
    let step = store.transact(1, |tx| {
        set(tx, format!("w{writer}"))?;
        set(tx, format!("twin{writer}"))?;
        tx.create(secret(&format!("w{writer}-{n}")))?;
        match n.checked_sub(20).map(|old| format!("id-w{writer}-{old}")) {
            Some(old) if tx.view().get::<Secret>(&old).is_some() => tx.remove::<Secret>(&old),
            _ => Ok(()),
        }
    });
    step.await.unwrap();
}

fn backend() -> Backend {
    match std::env::var(BACKEND).as_deref() {
        #[cfg(feature = "sled")]
        Ok("sled") => Backend::Sled,
        _ => Backend::Redb,
    }
}

async fn reopen(dir: &Path, backend: Backend) -> Replica {
    let link = Arc::new(Link { hub: Arc::default(), from: 1 });
    let mut config = config(dir, 1);
    config.backend = backend;
    config.snapshot_every = 40;
    config.keep = 5;
    let replica = Replica::open(config, link).await.unwrap();
    if !replica.is_initialised() {
        replica.bootstrap(1).await.unwrap();
    }
    until("it leads", async || replica.leadership().borrow().is_leader).await;
    replica
}

/// Not a test of its own: the process that is killed. Says what it has found, and writes until it
/// is killed and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let replica = reopen(Path::new(&dir), backend()).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let found = reached(&replica, writer);
        say(&format!("found {writer} {found}"));
        let store = replica.store();
        writers.spawn(async move {
            for n in found + 1.. {
                write_next(store.clone(), writer, n).await;
                say(&format!("acknowledged {writer} {n}"));
            }
        });
    }
    writers.join_next().await.unwrap().unwrap();
}

fn spawn(dir: &Path, backend: Backend) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "replica::tests::crash::a_child_writes_until_it_is_killed"])
        .arg("--nocapture")
        .env(DIR, dir)
        .env(BACKEND, format!("{backend:?}").to_lowercase())
        .stdout(Stdio::piped())
        .spawn();
    Killed(child.unwrap())
}

/// What was acknowledged to each writer, by all that the killed processes said.
#[derive(Default)]
struct Ledger {
    acknowledged: [u64; WRITERS],
    writes: u64,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [verb @ ("found" | "acknowledged"), writer, n] = words[..] else { return };
        let (writer, n): (usize, u64) = (writer.parse().unwrap(), n.parse().unwrap());
        let known = &mut self.acknowledged[writer];
        assert!(n >= *known, "writer {writer}: {known} was acknowledged, {n} was {verb}");
        self.writes += n - *known;
        *known = n;
    }

    /// Runs a process on the store and kills it: at a random moment after its start, which hits
    /// recovery, or after its first write.
    fn crash(&mut self, dir: &Path, backend: Backend, random: &mut StdRng) {
        let early = random.random_bool(0.5);
        let delay = random.random_range(if early { EARLY_MS } else { LATE_MS });
        let mut deadline = early.then(|| Instant::now() + Duration::from_millis(delay));
        let mut child = spawn(dir, backend);
        let out = BufReader::new(child.0.stdout.take().unwrap());
        let (lines, heard) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        loop {
            let patience = deadline.unwrap_or(Instant::now() + Duration::from_secs(20));
            match heard.recv_timeout(patience.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if line.starts_with("acknowledged") && deadline.is_none() {
                        deadline = Some(Instant::now() + Duration::from_millis(delay));
                    }
                    self.note(&line);
                }
                Err(RecvTimeoutError::Timeout) if deadline.is_some() => break,
                Err(_) => panic!("the process ended by itself or hangs"),
            }
        }
        drop(child);
        reader.join().unwrap();
        heard.iter().for_each(|line| self.note(&line));
    }
}

/// Crashes one store so often, and looks at what is there in the end. Acknowledged writes.
fn lane(cycles: u64, mut random: StdRng, backend: Backend) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for _ in 0..cycles {
        ledger.crash(dir.path(), backend, &mut random);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let replica = reopen(dir.path(), backend).await;
        for writer in 0..WRITERS {
            let (acknowledged, found) = (ledger.acknowledged[writer], reached(&replica, writer));
            assert!(found >= acknowledged, "writer {writer}: {found} of {acknowledged}");
        }
        replica.shutdown().await;
    });
    ledger.writes
}

fn crash_all(backend: Backend) {
    let (cycles, mut random) = cycles(CYCLES);
    let each = cycles.div_ceil(LANES);
    let began = Instant::now();
    let writes: u64 = std::thread::scope(|scope| {
        let start = |_| {
            let random = StdRng::from_rng(&mut random);
            scope.spawn(move || lane(each, random, backend))
        };
        let lanes: Vec<_> = (0..LANES).map(start).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    let killed = each * LANES;
    assert!(writes > killed, "only {writes} writes");
    let seconds = began.elapsed().as_secs();
    println!("killed {killed} times in {seconds} s, {writes} acknowledged writes, none lost");
}

#[test]
fn what_was_acknowledged_before_a_sigkill_is_there_after_it() {
    crash_all(Backend::Redb);
}

#[cfg(feature = "sled")]
#[test]
fn what_was_acknowledged_over_sled_before_a_sigkill_is_there_after_it() {
    crash_all(Backend::Sled);
}
