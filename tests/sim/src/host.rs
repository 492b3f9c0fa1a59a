//! One simulated host: a disk that outlives its managers, and the manager that runs now.

use swarm_manager::simulation::Seat;
use swarm_raft_store::Replica;
use swarm_raft_store::simulation::{Disk, Entry, Sight};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A manager from its start to its death.
#[derive(Clone)]
pub struct Life {
    /// Counts the lives of this host, from 1.
    pub number: u32,
    pub replica: Replica,
    /// Cancelled by its death: whoever waits for it learns nothing any more.
    pub died: CancellationToken,
    /// The leader's seat as this manager sees it; always vacant where only replicas run.
    pub seat: watch::Receiver<Seat>,
}

/// What was last seen of a life.
#[derive(Default)]
pub struct Seen {
    pub life: u32,
    pub sight: Sight,
    /// Its log, so far as it is in memory.
    pub log: Vec<Entry>,
    /// Version of its tables.
    pub version: u64,
}

pub struct Host {
    pub disk: Disk,
    pub life: Option<Life>,
    pub lives: u32,
    /// The life that has the power, from before it is open; 0: none.
    pub powered: u32,
    /// By how much its wall clock is wrong, nanoseconds.
    pub skew: i64,
    pub seen: Seen,
}

/// Its name, 1 and up.
pub fn node_id(host: usize) -> String {
    format!("n{}", host + 1)
}

pub fn addr(host: usize) -> String {
    format!("n{}:2377", host + 1)
}

/// The host at an address made by [`addr`].
pub fn of_addr(addr: &str) -> Option<usize> {
    let digits = addr.strip_prefix('n')?.strip_suffix(":2377")?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// The host of a name made by [`node_id`].
pub fn of_node(node_id: &str) -> Option<usize> {
    node_id.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}
