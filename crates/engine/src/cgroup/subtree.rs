//! Readies a version 2 hierarchy for containers: the groups above theirs must hand on the
//! controllers, and a group that does may hold no processes itself. Where the daemon was put into
//! such a group (as first process of a container, or in a group delegated to it), it moves into a
//! leaf below, with whatever else is there: the group is its own to order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The controllers whose limits specifications speak of.
const WANTED: &[&str] = &["cpu", "cpuset", "io", "memory", "pids"];
/// Below the group the daemon leaves; no container is called that.
const LEAF: &str = "daemon";
/// Processes may start others while they are moved; each round catches up with them.
const ROUNDS: usize = 100;

/// Why containers cannot have groups there.
#[derive(Debug, thiserror::Error)]
pub enum SubtreeError {
    /// Somebody else's group was chosen.
    #[error(
        "cgroup {group} has processes of its own, {process} for one, and cannot limit groups \
         below it: choose another parent for containers"
    )]
    Occupied { group: String, process: String },
    /// The hierarchy cannot be changed.
    #[error("cgroup {group}: {source}")]
    Io { group: String, source: io::Error },
}

/// Makes `parent` below the mount point `root` and has every group down to it hand on what
/// controllers there are. `own` is the caller's group.
pub fn prepare(root: &Path, own: &str, parent: &str) -> Result<(), SubtreeError> {
    let own = root.join(own.trim_start_matches('/'));
    let mut group = root.to_owned();
    hand_on(&group, &own)?;
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        group.push(part);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(problem(&group)(error));
            }
            _ => hand_on(&group, &own)?,
        }
    }
    Ok(())
}

fn hand_on(group: &Path, own: &Path) -> Result<(), SubtreeError> {
    let there = words(&group.join("cgroup.controllers")).map_err(problem(group))?;
    let control = group.join("cgroup.subtree_control");
    let on = words(&control).map_err(problem(group))?;
    let is_in = |list: &[String], name: &str| list.iter().any(|word| word == name);
    let missing: Vec<&&str> =
        WANTED.iter().filter(|name| is_in(&there, name) && !is_in(&on, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    vacate(group, own)?;
    for name in missing {
        // One at a time: a controller that is in use elsewhere must not keep the others back. A
        // limit that needs it is refused when a container asks for it.
        if let Err(error) = fs::write(&control, format!("+{name}")) {
            tracing::debug!(group = %group.display(), controller = name, %error, "not handed on");
        }
    }
    Ok(())
}

/// Empties a group that is to hand on controllers.
fn vacate(group: &Path, own: &Path) -> Result<(), SubtreeError> {
    // The root of the whole hierarchy has no type, and may hold processes.
    if !group.join("cgroup.type").exists() {
        return Ok(());
    }
    let procs = group.join("cgroup.procs");
    let leaf = group.join(LEAF);
    for _ in 0..ROUNDS {
        let processes = words(&procs).map_err(problem(group))?;
        let Some(first) = processes.first() else { return Ok(()) };
        // 0 stands for a process that cannot be seen from here.
        if group != own || processes.iter().any(|process| process == "0") {
            return Err(occupied(group, first));
        }
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(problem(&leaf)(error));
            }
            _ => {}
        }
        for process in processes {
            match fs::write(leaf.join("cgroup.procs"), &process) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other.map_err(problem(&leaf))?,
            }
        }
    }
    Err(occupied(group, "one that keeps starting others"))
}

fn occupied(group: &Path, process: &str) -> SubtreeError {
    SubtreeError::Occupied { group: shown(group), process: process.to_owned() }
}

fn problem(group: &Path) -> impl FnOnce(io::Error) -> SubtreeError {
    let group = shown(group);
    move |source| SubtreeError::Io { group, source }
}

fn shown(group: &Path) -> String {
    group.display().to_string()
}

fn words(path: &PathBuf) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(path)?.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
