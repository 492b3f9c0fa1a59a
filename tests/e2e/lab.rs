//! The lab itself: up makes a cluster, down leaves nothing.

use std::process::Command;

use support::{Cluster, Outcome};

/// What the machine shows of labs: links, mounts, cgroups, daemons.
fn traces(root: &str) -> String {
    let links = Outcome::of(Command::new("ip").args(["-br", "link"])).stdout;
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let mut traces: Vec<String> =
        mounts.lines().filter(|l| l.contains(root)).map(str::to_owned).collect();
    let processes = Outcome::of(Command::new("ps").args(["-eo", "args"])).stdout;
    traces.extend(processes.lines().filter(|l| l.contains(root)).map(str::to_owned));
    traces.push(format!("{} links", links.lines().filter(|l| l.starts_with("lab-")).count()));
    traces.join("\n")
}

#[test]
fn up_makes_a_cluster_whose_nodes_are_ready_and_down_leaves_nothing() {
    let cluster = Cluster::with_busybox(3, 1);
    let listed = cluster.ctl("m1", &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]).ok();
    assert_eq!(listed, "m1 Ready\nm2 Ready\nm3 Ready\nw1 Ready");
    cluster
        .ctl(
            "m2",
            &[
                "service",
                "create",
                "-q",
                "--name",
                "s",
                "--replicas",
                "4",
                "busybox",
                "sleep",
                "1000",
            ],
        )
        .ok();
    assert_eq!(cluster.running("w1", "s").len(), 0, "a worker cannot look at the cluster");
    assert_eq!(cluster.running("m3", "s").len(), 4);
    let root = cluster.state_dir("m1").ancestors().nth(3).expect("root").display().to_string();
    assert!(traces(&root).contains("swarmd"));
    cluster.lab_verb("down", &[]).ok();
    let left = traces(&root);
    assert!(!left.contains(&root), "{left}");
}
