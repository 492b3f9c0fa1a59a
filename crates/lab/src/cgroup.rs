//! The lab's cgroup: how its processes are found again, whatever they became, and where its hosts
//! put their containers. On v1 and hybrid machines the daemon is tracked in one hierarchy and its
//! containers may be in all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LabError;
use crate::process::wait_until;

/// Where hierarchies are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The parent of all labs' cgroups in every hierarchy.
pub(crate) const PARENT: &str = "swarm-lab";

/// A cgroup may be busy for a moment after its last process was killed.
const REMOVAL: Duration = Duration::from_secs(5);

/// Makes the cgroup `path` (relative) in the hierarchy that tracks processes and returns the file
/// a process joins it by. `None` where cgroups are not mounted or not writable: containers do not
/// work there either.
pub(crate) fn join_file(path: &str) -> Option<PathBuf> {
    let folder = tracking_root()?.join(path);
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Some(folder.join("cgroup.procs")),
        Err(error) => {
            tracing::debug!(folder = %folder.display(), %error, "no cgroup for the lab");
            None
        }
    }
}

/// The unified hierarchy where there is one: a process leaves it only on purpose.
fn tracking_root() -> Option<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return Some(mount.to_owned());
    }
    ["unified", "systemd", "pids"]
        .map(|name| mount.join(name))
        .into_iter()
        .find(|root| root.join("cgroup.procs").exists())
}

/// Removes the cgroup `path` and all below it from every hierarchy, and the labs' parent if it is
/// empty then. Returns what could not be removed.
pub(crate) fn remove(path: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for root in hierarchies() {
        let folder = root.join(path);
        if !folder.exists() {
            continue;
        }
        let mut last = Ok(());
        let gone = wait_until(REMOVAL, || {
            last = remove_tree(&folder);
            last.is_ok()
        });
        if !gone && let Err(error) = last {
            failures.push(error.to_string());
        }
        // Other labs' cgroups keep it, which is no failure.
        let _ = std::fs::remove_dir(root.join(PARENT));
    }
    failures
}

fn hierarchies() -> Vec<PathBuf> {
    let mount = PathBuf::from(MOUNT);
    let inner = std::fs::read_dir(&mount).into_iter().flatten().flatten().map(|e| e.path());
    let mut roots: Vec<_> = inner.filter(|path| path.join("cgroup.procs").exists()).collect();
    roots.push(mount);
    roots
}

fn remove_tree(folder: &Path) -> Result<(), LabError> {
    let entries = std::fs::read_dir(folder).map_err(LabError::on_path("read", folder))?;
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::on_path("remove the cgroup", folder)(error))
        }
        _ => Ok(()),
    }
}
