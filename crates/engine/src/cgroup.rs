//! Control groups as the engine needs them: readying the hierarchy, joining, counting memory kills,
//! ending and removing one container's groups in every hierarchy, of either version. Limits are
//! applied by libcontainer, which on a hybrid host uses the version 1 hierarchies alone.
//!
//! - [`subtree`]: handing on controllers, on version 2.
//! - [`device`]: the device policy, on version 2.

pub mod device;
pub mod subtree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use subtree::SubtreeError;

/// How long the removal of a group waits for its last process to be gone.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);
/// Pause between two attempts to remove a group.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// Where hierarchies are looked for.
pub const ROOT: &str = "/sys/fs/cgroup";
/// The file by which processes enter and are listed.
const PROCS: &str = "cgroup.procs";

/// Whether version 2 is all there is. A hybrid host counts as version 1.
pub fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Readies the groups above a container's; see [`subtree`]. Version 1 needs nothing.
pub fn prepare(cgroup: &str) -> Result<(), SubtreeError> {
    let Some((parent, _)) = cgroup.rsplit_once('/').filter(|_| unified()) else { return Ok(()) };
    subtree::prepare(Path::new(ROOT), &group_of("self").unwrap_or_default(), parent)
}

/// Whether the host lets devices be limited: version 2 always does.
pub fn limits_devices() -> bool {
    unified() || Path::new(ROOT).join("devices").is_dir()
}

/// Whether swap is accounted for, beside the container's memory.
pub fn counts_swap(cgroup: &str) -> bool {
    if unified() {
        return offers(cgroup, "memory.swap.max");
    }
    let memory = Path::new(ROOT).join("memory");
    !memory.is_dir() || memory.join("memory.memsw.limit_in_bytes").exists()
}

/// Whether the number of processes can be limited.
pub fn counts_processes(cgroup: &str) -> bool {
    !unified() || offers(cgroup, "pids.max")
}

/// Whether groups beside this one, which need not exist yet, have the file.
fn offers(cgroup: &str, file: &str) -> bool {
    let group = Path::new(ROOT).join(cgroup.trim_start_matches('/'));
    let controller = file.split('.').next().unwrap_or_default();
    let Some(parent) = group.parent() else { return false };
    let handed_on = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    // The root of the hierarchy has no such files itself.
    let known = parent.join(file).exists() || parent == Path::new(ROOT);
    known && handed_on.split_whitespace().any(|name| name == controller)
}

/// The group of a process (a pid, or `self`) on version 2.
fn group_of(process: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

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

/// Moves the calling process into the container's groups. On version 2 a container that has groups
/// of its own may have made its first one a mere parent: then into the one of its process `init`.
pub fn join(cgroup: &str, init: i32) -> io::Result<()> {
    for directory in directories(cgroup) {
        match fs::write(directory.join(PROCS), "0") {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let group = group_of(&init.to_string()).ok_or(error)?;
                fs::write(Path::new(ROOT).join(group.trim_start_matches('/')).join(PROCS), "0")?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Limits the container's devices on version 2; on version 1 libcontainer does.
pub fn restrict_devices(cgroup: &str) -> io::Result<()> {
    if !unified() {
        return Ok(());
    }
    let group = Path::new(ROOT).join(cgroup.trim_start_matches('/'));
    device::restrict(&group, crate::profile::device::ALLOWED)
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
        kill_tree(&directory);
    }
}

/// Kills what is in a group and in those its processes made below it.
fn kill_tree(directory: &Path) {
    // Version 2 since 5.14: all at once, so that nothing can be forked away.
    let at_once = directory.join("cgroup.kill");
    if at_once.exists() && fs::write(at_once, "1").is_ok() {
        return;
    }
    let procs = fs::read_to_string(directory.join(PROCS)).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0) {
        // SAFETY: kill takes plain numbers; a process that is gone already is no error here.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    for child in children(directory) {
        kill_tree(&child);
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
    for child in children(directory) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The groups right below one; none if it has just gone.
fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
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

    #[test]
    fn a_group_is_removed_with_those_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("container");
        fs::create_dir_all(group.join("a/b")).unwrap();
        fs::create_dir_all(group.join("c")).unwrap();
        remove_tree(&group).unwrap();
        assert!(!group.exists());
        remove_tree(&group).unwrap();
    }

    #[test]
    fn a_group_that_can_end_its_processes_at_once_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let kill = dir.path().join("cgroup.kill");
        fs::write(&kill, "").unwrap();
        kill_tree(dir.path());
        assert_eq!(fs::read_to_string(kill).unwrap(), "1");
    }
}
