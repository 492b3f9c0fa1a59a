//! A hierarchy of plain files: what is written to `cgroup.procs` or `cgroup.subtree_control` stays
//! there as it was written, and nobody is moved by it. Kernel behaviour is seen in the test machine.

use std::fs;
use std::path::Path;

use super::*;

/// A hierarchy whose groups have these controllers; those in `groups` exist, with a process or
/// none.
fn hierarchy(controllers: &str, groups: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = [("", "1\n2\n")];
    for (group, processes) in root.iter().chain(groups) {
        let path = dir.path().join(group);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cgroup.controllers"), controllers).unwrap();
        fs::write(path.join("cgroup.subtree_control"), "").unwrap();
        fs::write(path.join("cgroup.procs"), processes).unwrap();
        if !group.is_empty() {
            fs::write(path.join("cgroup.type"), "domain\n").unwrap();
        }
    }
    dir
}

fn text(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap()
}

#[test]
fn each_group_down_to_the_parent_hands_controllers_on() {
    let dir = hierarchy("cpu memory", &[("a", ""), ("a/b", "")]);
    prepare(dir.path(), "/system.slice/d.service", "/a/b").unwrap();
    // The last word that was written.
    for group in ["", "a", "a/b"] {
        assert_eq!(text(&dir.path().join(group), "cgroup.subtree_control"), "+memory", "{group}");
    }
}

#[test]
fn what_is_handed_on_already_is_not_written_again() {
    let dir = hierarchy("cpuset cpu memory", &[("a", "")]);
    for group in ["", "a"] {
        let file = dir.path().join(group).join("cgroup.subtree_control");
        fs::write(file, "cpuset cpu memory\n").unwrap();
    }
    prepare(dir.path(), "/", "a").unwrap();
    assert_eq!(text(dir.path(), "a/cgroup.subtree_control"), "cpuset cpu memory\n");
}

#[test]
fn a_daemon_above_the_containers_moves_into_a_leaf() {
    let dir = hierarchy("memory", &[("own", "77\n"), ("own/containers", "")]);
    let problem = prepare(dir.path(), "/own", "own/containers").unwrap_err();
    assert_eq!(text(dir.path(), "own/daemon/cgroup.procs"), "77");
    // Files do not empty themselves as the kernel's do.
    assert!(problem.to_string().contains("keeps starting others"), "{problem}");
}

#[test]
fn a_group_with_processes_of_others_is_refused_by_name() {
    let dir = hierarchy("memory", &[("taken", "78\n79\n"), ("taken/containers", "")]);
    let problem = prepare(dir.path(), "/own", "taken/containers").unwrap_err();
    let group = dir.path().join("taken").display().to_string();
    let expected = format!(
        "cgroup {group} has processes of its own, 78 for one, and cannot limit groups below it: \
         choose another parent for containers"
    );
    assert_eq!(problem.to_string(), expected);
    assert!(!dir.path().join("taken/daemon").exists());
}

#[test]
fn processes_that_cannot_be_seen_are_not_moved() {
    let dir = hierarchy("memory", &[("own", "0\n77\n"), ("own/containers", "")]);
    let problem = prepare(dir.path(), "/own", "own/containers").unwrap_err();
    assert!(matches!(problem, SubtreeError::Occupied { .. }), "{problem}");
    assert!(!dir.path().join("own/daemon").exists());
}

#[test]
fn a_hierarchy_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let problem = prepare(dir.path(), "/", "a").unwrap_err();
    assert!(problem.to_string().contains(&dir.path().display().to_string()), "{problem}");
}
