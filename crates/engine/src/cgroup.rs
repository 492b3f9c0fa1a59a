//! Control groups as the engine needs them: joining, counting memory kills, ending and removing
//! one container's groups in every hierarchy, of either version. Limits are applied by
//! libcontainer, which on a hybrid host uses the version 1 hierarchies alone.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the removal of a group waits for its last process to be gone.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);
/// Pause between two attempts to remove a group.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// Where hierarchies are looked for.
const ROOT: &str = "/sys/fs/cgroup";

/// The container's directory in each mounted hierarchy in which it exists.
pub fn directories(cgroup: &str) -> Vec<PathBuf> {
    let relative = cgroup.trim_start_matches('/');
    if relative.is_empty() {
        return Vec::new();
    }
    mounts().into_iter().map(|mount| mount.join(relative)).filter(|dir| dir.is_dir()).collect()
}

/// Mount points of all hierarchies under `/sys/fs/cgroup`.
fn mounts() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table.lines().filter_map(cgroup_mount).collect();
    found.sort();
    found.dedup();
    found
}

/// The mount point of a `mountinfo` line that is a cgroup hierarchy.
fn cgroup_mount(line: &str) -> Option<PathBuf> {
    let (left, right) = line.split_once(" - ")?;
    let kind = right.split(' ').next()?;
    let point = left.split(' ').nth(4)?;
    let known = matches!(kind, "cgroup" | "cgroup2") && point.starts_with(ROOT);
    known.then(|| PathBuf::from(point))
}

/// Moves the calling process into the container's groups.
pub fn join(cgroup: &str) -> io::Result<()> {
    for directory in directories(cgroup) {
        let mut file = fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs"))?;
        file.write_all(b"0")?;
    }
    Ok(())
}

/// How many processes of the container the kernel killed for want of memory.
pub fn oom_kills(cgroup: &str) -> u64 {
    directories(cgroup)
        .iter()
        .flat_map(|dir| ["memory.events", "memory.oom_control"].map(|name| dir.join(name)))
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter_map(|text| oom_kill_count(&text))
        .max()
        .unwrap_or(0)
}

fn oom_kill_count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Kills every process of the container.
pub fn kill(cgroup: &str) {
    for directory in directories(cgroup) {
        let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| line.parse::<i32>().ok()) {
            // SAFETY: kill takes plain numbers; a process that is gone already is no error here.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// Removes the container's groups, killing what is left in them. Blocks up to two seconds.
pub fn remove(cgroup: &str) -> io::Result<()> {
    let deadline = Instant::now() + REMOVAL_DEADLINE;
    loop {
        let mut last = None;
        for directory in directories(cgroup) {
            if let Err(error) = remove_tree(&directory) {
                last = Some(error);
            }
        }
        match last {
            None => return Ok(()),
            Some(error) if Instant::now() > deadline => return Err(error),
            Some(_) => {
                kill(cgroup);
                std::thread::sleep(REMOVAL_PAUSE);
            }
        }
    }
}

/// Removes a group and the groups its processes made below it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found_in_the_mount_table() {
        let v1 = "35 30 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        let other = "36 30 0:5 / /dev rw - devtmpfs devtmpfs rw";
        assert_eq!(cgroup_mount(v1), Some(PathBuf::from("/sys/fs/cgroup/memory")));
        assert_eq!(cgroup_mount(v2), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(cgroup_mount(other), None);
    }

    #[test]
    fn memory_kills_are_counted_in_both_formats() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(oom_kill_count(v1), Some(3));
        assert_eq!(oom_kill_count(v2), Some(1));
    }

    #[test]
    fn the_root_group_is_never_touched() {
        assert!(directories("/").is_empty());
    }
}
