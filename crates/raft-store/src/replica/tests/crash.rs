use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;

const DIR: &str = "SWARM_RAFT_STORE_CRASH_DIR";

/// Killed and reaped also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the process that is killed. Writes until then, and says what was
/// acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let link = Arc::new(Link { hub: Arc::default(), from: 1 });
    let mut config = config(Path::new(&dir), 1);
    config.snapshot_every = 40;
    config.keep = 5;
    let replica = Replica::open(config, link).await.unwrap();
    if !replica.is_initialised() {
        replica.bootstrap(1).await.unwrap();
    }
    until("it leads", async || replica.leadership().borrow().is_leader).await;
    let mut out = std::io::stdout();
    for n in replica.store().view().count::<Secret>().. {
        write(&replica, &format!("s{n}")).await.unwrap();
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

fn spawn(dir: &Path) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "replica::tests::crash::a_child_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn();
    Killed(child.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_sigkill_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = None;
    // The number of writes between kills varies, so that they hit appends, snapshots and purges.
    for writes in [1, 7, 38, 41, 60, 3, 83] {
        let mut child = spawn(dir.path());
        let out = BufReader::new(child.0.stdout.take().unwrap());
        let numbers = out.lines().map_while(Result::ok);
        let numbers = numbers.filter_map(|l| l.strip_prefix("acknowledged ")?.parse().ok());
        acknowledged = numbers.take(writes).last().or(acknowledged);
        drop(child);
    }
    let last: u64 = acknowledged.unwrap();
    assert!(last > 200, "only {last} writes");
    let link = Arc::new(Link { hub: Arc::default(), from: 1 });
    let replica = Replica::open(config(dir.path(), 1), link).await.unwrap();
    until("it leads", async || replica.leadership().borrow().is_leader).await;
    let missing: Vec<u64> = (0..=last).filter(|n| !has(&replica, &format!("s{n}"))).collect();
    assert_eq!(missing, [0_u64; 0]);
    replica.shutdown().await;
}
