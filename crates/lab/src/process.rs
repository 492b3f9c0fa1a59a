//! The machine's processes: which belong to a lab, which still run, and ending them.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mounts::is_pin;

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(10);

/// How to know a lab's processes.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Part of the path of every cgroup of the lab, `/swarm-lab/<lab>/`.
    cgroup: String,
    /// Inodes of its network and mount namespaces.
    namespaces: HashSet<u64>,
}

impl Marks {
    /// Everything in the cgroup `cgroup` (relative) or below, and in the namespaces these files
    /// pin. Files that are no pins count for nothing, and so do namespaces this process is in
    /// itself: a mistake there would mean every process of the machine.
    pub(crate) fn new(cgroup: &str, pins: &[PathBuf]) -> Self {
        let own: HashSet<u64> =
            ["net", "mnt"].iter().filter_map(|kind| inode(&own_namespace(kind))).collect();
        let pinned = pins.iter().filter(|pin| is_pin(pin)).filter_map(|pin| inode(pin));
        Self {
            cgroup: format!("/{}/", cgroup.trim_matches('/')),
            namespaces: pinned.filter(|inode| !own.contains(inode)).collect(),
        }
    }

    fn fit(&self, pid: i32) -> bool {
        let in_cgroup = || {
            std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| text.lines().any(|line| line.contains(&self.cgroup)))
                && self.cgroup.len() > "//".len()
        };
        let in_namespace = |kind: &str| {
            namespace_of(pid, kind).is_some_and(|inode| self.namespaces.contains(&inode))
        };
        in_namespace("mnt") || in_namespace("net") || in_cgroup()
    }
}

/// The living processes that bear the marks; never this process itself.
pub(crate) fn marked(marks: &Marks) -> Vec<i32> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own))
        .filter(|pid| marks.fit(*pid) && is_alive(*pid))
        .collect()
}

/// Kills every marked process and those they start meanwhile, until none is left. Returns how many
/// were killed and the ones that survived `patience`.
pub(crate) fn kill_marked(marks: &Marks, patience: Duration) -> (usize, Vec<i32>) {
    let mut killed = HashSet::new();
    let mut left = Vec::new();
    wait_until(patience, || {
        left = marked(marks);
        for pid in &left {
            killed.insert(*pid);
            send(*pid, Signal::SIGKILL);
        }
        left.is_empty()
    });
    (killed.len(), left)
}

/// Sends a signal; that the process ended meanwhile is no error.
pub(crate) fn send(pid: i32, signal: Signal) {
    if let Err(errno) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, %signal, %errno, "signal not delivered");
    }
}

/// Whether a process exists and is not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    // "pid (name, which may contain anything) state …"
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first().copied());
        !matches!(state, Some(Some(b'Z' | b'X')) | None)
    })
}

/// The inode of a process's namespace; `kind` as in `/proc/PID/ns`.
pub(crate) fn namespace_of(pid: i32, kind: &str) -> Option<u64> {
    inode(Path::new(&format!("/proc/{pid}/ns/{kind}")))
}

fn own_namespace(kind: &str) -> PathBuf {
    format!("/proc/self/ns/{kind}").into()
}

/// The inode behind a path: of a pin, that is the namespace's.
pub(crate) fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Looks at a condition until it holds (`true`) or the time is over (`false`).
pub(crate) fn wait_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}
