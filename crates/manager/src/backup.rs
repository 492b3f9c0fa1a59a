//! Copies of the whole state that each manager keeps in a folder of its own, at an interval and up to
//! a number that the cluster's settings give. Any of them recovers the cluster.
//!
//! Every manager keeps its own, so that the loss of any leaves the others'. Nothing is written while
//! nothing changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swarm_api::time::{nanos_of, to_std};
use swarm_api::{AutoSnapshots, SnapshotFile, time};
use swarm_ca::RecoveryKey;
use swarm_raft_store::{ArchiveCover, ArchiveError, Replica, View, write_archive};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::custody::{Custody, cluster_change};

/// Unless the settings say otherwise: two days in eight copies.
pub const INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How many are kept unless the settings say otherwise.
pub const KEEP: u32 = 8;
/// The first copy of a new manager does not wait for a whole interval.
const FIRST: Duration = Duration::from_secs(600);
/// Looked at this often at least: the wall clock may be set.
const CHECK: Duration = Duration::from_secs(60);

const PREFIX: &str = "auto-";
const SUFFIX: &str = ".snapshot";

/// Settings that are not there are the defaults.
pub fn policy(settings: Option<&AutoSnapshots>) -> (Duration, u32) {
    match settings {
        None => (INTERVAL, KEEP),
        Some(s) => (s.interval.as_ref().map_or(INTERVAL, to_std), s.keep.max(1)),
    }
}

/// What keeping copies needs.
pub struct Backup {
    pub replica: Replica,
    pub clock: Clock,
    pub dir: PathBuf,
}

impl Backup {
    /// Runs until cancelled. A copy that cannot be written is told in the log and tried again.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), String> {
        let mut commits = self.replica.store().subscribe();
        let begun = self.clock.now();
        loop {
            let wait = match self.due(begun).await {
                Some(wait) if wait.is_zero() => match self.save().await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::error!(%error, dir = %self.dir.display(), "keep a snapshot");
                        CHECK
                    }
                },
                Some(wait) => wait.min(CHECK),
                None => CHECK,
            };
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
                () = cluster_change(&mut commits) => {}
            }
        }
    }

    /// How long until the next copy; `None`: nothing is to be kept.
    async fn due(&self, begun: SystemTime) -> Option<Duration> {
        let view = self.replica.store().view();
        let settings = view.cluster()?.spec.as_ref()?.auto_snapshots.as_ref();
        let (interval, _) = policy(settings);
        if interval.is_zero() {
            return None;
        }
        let now = self.clock.now();
        let newest = newest(self.dir.clone()).await;
        if newest.as_ref().is_some_and(|n| n.index == view.version()) {
            return Some(CHECK.min(interval));
        }
        let at = match newest {
            Some(newest) => saved_at(&newest) + interval,
            None => begun + interval.min(FIRST),
        };
        // One from the future, for the clock was set back, does not keep the next from being made.
        Some(at.duration_since(now).unwrap_or_default().min(interval))
    }

    async fn save(&self) -> Result<(), ArchiveError> {
        let view = self.replica.store().view();
        let key = Custody::of(&view).and_then(|c| c.recovery_key);
        let key = key.ok_or_else(|| io::Error::other("the cluster has no recovery key"))?;
        let settings = view.cluster().and_then(|c| c.spec.as_ref()?.auto_snapshots.as_ref());
        let (_, keep) = policy(settings);
        let cover = self.replica.cover(&view, nanos_of(self.clock.now()));
        let dir = self.dir.clone();
        let work = move || {
            let path = write(&dir, &view, &cover, &key)?;
            tracing::info!(path = %path.display(), index = view.version(), "kept a snapshot");
            Ok(prune(&dir, keep as usize)?)
        };
        let died = |e| ArchiveError::Io(io::Error::other(e));
        tokio::task::spawn_blocking(work).await.map_err(died)?
    }
}

async fn newest(dir: PathBuf) -> Option<SnapshotFile> {
    let listing = tokio::task::spawn_blocking(move || list(&dir)).await;
    listing.ok()?.ok()?.into_iter().next()
}

fn saved_at(file: &SnapshotFile) -> SystemTime {
    let nanos = file.saved_at.as_ref().map_or(0, time::to_nanos);
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// The copies in `dir`, newest first. Blocking.
pub fn list(dir: &Path) -> io::Result<Vec<SnapshotFile>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some((seconds, index)) = name.to_str().and_then(parse) else { continue };
        files.push(SnapshotFile {
            path: entry.path().display().to_string(),
            index,
            saved_at: Some(time::from_nanos(seconds.saturating_mul(1_000_000_000))),
            bytes: entry.metadata()?.len(),
        });
    }
    let order = |file: &SnapshotFile| (file.index, file.saved_at.map(|at| at.seconds));
    files.sort_by_key(|file| std::cmp::Reverse(order(file)));
    Ok(files)
}

/// Names sort by time.
fn name(seconds: i64, index: u64) -> String {
    format!("{PREFIX}{seconds:012}-{index}{SUFFIX}")
}

fn parse(name: &str) -> Option<(i64, u64)> {
    let middle = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (seconds, index) = middle.split_once('-')?;
    Some((seconds.parse().ok()?, index.parse().ok()?))
}

/// Whole or not at all, for root only.
fn write(
    dir: &Path,
    view: &View,
    cover: &ArchiveCover,
    key: &RecoveryKey,
) -> Result<PathBuf, ArchiveError> {
    fs::create_dir_all(dir)?;
    let path = dir.join(name(cover.saved_at_ns.div_euclid(1_000_000_000), view.version()));
    let part = dir.join("part");
    let _ = fs::remove_file(&part);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let mut file = io::BufWriter::new(file);
    write_archive(view, cover, key.bytes(), |piece| file.write_all(piece))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&part, &path)?;
    File::open(dir)?.sync_all()?;
    Ok(path)
}

fn prune(dir: &Path, keep: usize) -> io::Result<()> {
    list(dir)?.iter().skip(keep).try_for_each(|old| fs::remove_file(&old.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_listed_newest_first_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list(&dir.path().join("none")).unwrap().is_empty());
        let key = RecoveryKey::generate().unwrap();
        for seconds in [100, 300, 200] {
            let cover =
                ArchiveCover { saved_at_ns: seconds * 1_000_000_000, ..ArchiveCover::default() };
            write(dir.path(), &View::default(), &cover, &key).unwrap();
        }
        fs::write(dir.path().join("mine"), "x").unwrap();
        let seconds = |dir: &Path| -> Vec<i64> {
            list(dir).unwrap().iter().map(|f| f.saved_at.unwrap().seconds).collect()
        };
        assert_eq!(seconds(dir.path()), [300, 200, 100]);
        prune(dir.path(), 2).unwrap();
        assert_eq!(seconds(dir.path()), [300, 200]);
        assert!(dir.path().join("mine").exists(), "what it did not make stays");
    }

    #[test]
    fn settings_that_are_not_given_are_the_defaults_and_none_is_off() {
        assert_eq!(policy(None), (INTERVAL, KEEP));
        let off = AutoSnapshots { interval: Some(time::to_proto(Duration::ZERO)), keep: 3 };
        assert_eq!(policy(Some(&off)), (Duration::ZERO, 3));
    }
}
