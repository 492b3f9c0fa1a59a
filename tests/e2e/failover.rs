//! What survives: the death of the leader, of all daemons, and a network that falls apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use support::{Cluster, eventually};

/// Names of all configs, as `node` lists them.
fn configs(cluster: &Cluster, node: &str) -> BTreeSet<String> {
    let listed = cluster.ctl(node, &["config", "ls", "--format", "{{.Name}}"]).ok();
    listed.lines().map(str::to_owned).collect()
}

fn others(cluster: &Cluster, leader: &str) -> Vec<String> {
    let names = cluster.lab().nodes().iter().map(|host| host.name.clone());
    names.filter(|name| name != leader && name.starts_with('m')).collect()
}

#[test]
fn killing_the_leader_under_writes_loses_nothing_acknowledged() {
    let cluster = Cluster::new(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    let rest = others(&cluster, &leader);
    let create = |index: usize| {
        let name = format!("c{index}");
        let through = &rest[index % rest.len()];
        let outcome = cluster.ctl(through, &["config", "create", &name, "/etc/hostname"]);
        (outcome.code == Some(0)).then_some(name).ok_or(outcome.stderr)
    };
    let mut acknowledged = BTreeSet::new();
    for index in 0..10 {
        acknowledged.insert(create(index).expect("a write with all managers up"));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.lab().kill(&leader).expect("kill"));
        for index in 10..30 {
            // A write that meets the election waits for its end; it may fail, but not lie.
            if let Ok(name) = create(index) {
                acknowledged.insert(name);
            }
        }
    });
    let began = Instant::now();
    acknowledged.insert(create(30).expect("a write after the election"));
    assert!(began.elapsed() < Duration::from_secs(5), "the cluster goes on");
    for node in &rest {
        assert!(configs(&cluster, node).is_superset(&acknowledged), "{node}");
    }
    cluster.lab().start(&leader).expect("start");
    eventually("the former leader has caught up", || {
        let listed = cluster.ctl(&leader, &["config", "ls", "--format", "{{.Name}}"]);
        let names: BTreeSet<String> = listed.stdout.lines().map(str::to_owned).collect();
        if names.is_superset(&acknowledged) { Ok(()) } else { Err(format!("{listed:?}")) }
    });
}

#[test]
fn killing_all_daemons_and_starting_all_restores_everything_and_restarts_no_container() {
    let cluster = Cluster::with_busybox(3, 1);
    cluster.ctl("m1", &["secret", "create", "s3", "/etc/hostname"]).ok();
    cluster.ctl("m2", &["config", "create", "c3", "/etc/hostname"]).ok();
    let command = ["busybox", "sh", "-c", "cat /run/secrets/s3 /c3; exec sleep 1000"];
    let flags = ["--name", "s", "--replicas", "4", "--secret", "s3", "--config", "c3"];
    cluster.create("m1", &[&flags[..], &command[..]].concat());
    cluster.wait_running("m1", "s", 4);
    let before = (cluster.running("m1", "s"), cluster.containers());
    assert_eq!(before.1.len(), 4);

    let names: Vec<String> = cluster.lab().nodes().iter().map(|h| h.name.clone()).collect();
    for name in &names {
        cluster.lab().kill(name).expect("kill");
    }
    assert_eq!(cluster.containers(), before.1, "containers go on without daemons");
    for name in &names {
        cluster.lab().start(name).expect("start");
    }
    eventually("all nodes are ready", || {
        let listed = cluster.ctl("m3", &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
        let ready = listed.stdout.lines().filter(|line| line.ends_with(" Ready")).count();
        if ready == 4 { Ok(()) } else { Err(format!("{listed:?}")) }
    });
    cluster.wait_running("m2", "s", 4);
    assert_eq!((cluster.running("m2", "s"), cluster.containers()), before);
    assert_eq!(cluster.ctl("m3", &["secret", "ls", "--format", "{{.Name}}"]).ok(), "s3");
    assert!(configs(&cluster, "m3").contains("c3"));
    // New tasks get secrets as before.
    cluster.ctl("m1", &["service", "scale", "-d", "s=6"]).ok();
    cluster.wait_running("m1", "s", 6);
    assert!(cluster.containers().is_superset(&before.1));
}

#[test]
fn tasks_of_a_node_that_is_cut_off_run_elsewhere_and_the_old_copies_end_when_it_is_back() {
    let cluster = Cluster::with_busybox(1, 2);
    let place = ["--constraint", "node.role==worker", "--replicas", "2", "--name", "s"];
    cluster.create("m1", &[&place[..], &["busybox", "sleep", "1000"]].concat());
    cluster.wait_running("m1", "s", 2);
    assert_eq!(cluster.hosts_of("m1", "s"), ["w1", "w2"]);
    let before = cluster.containers();
    cluster.lab().cut("w1").expect("cut");
    eventually("both tasks run on w2", || {
        let hosts = cluster.hosts_of("m1", "s");
        if hosts == ["w2", "w2"] { Ok(()) } else { Err(format!("{hosts:?}")) }
    });
    assert_eq!(cluster.containers().len(), 3, "the copy on w1 does not know yet");
    cluster.lab().heal("w1").expect("heal");
    eventually("the old copy is gone", || {
        let left = cluster.containers();
        if left.len() == 2 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(cluster.containers().intersection(&before).count(), 1, "w2's own was left alone");
    eventually("w1 is ready", || {
        let listed = cluster.ctl("m1", &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
        if listed.stdout.contains("w1 Ready") { Ok(()) } else { Err(format!("{listed:?}")) }
    });
    assert_eq!(cluster.hosts_of("m1", "s"), ["w2", "w2"], "nothing moves back by itself");
}

#[test]
fn the_side_with_most_managers_goes_on_and_the_other_says_why_it_does_not() {
    let cluster = Cluster::with_busybox(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    let rest = others(&cluster, &leader);
    cluster.create("m1", &["--name", "s", "--mode", "global", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 3);
    let before = cluster.containers();
    cluster.lab().partition(&[vec![leader.clone()], rest.clone()]).expect("partition");
    cluster.ctl(&rest[0], &["config", "create", "kept", "/etc/hostname"]).ok();
    let refused = cluster.ctl(&leader, &["config", "create", "lost", "/etc/hostname"]).refused();
    assert!(refused.contains("the cluster has no leader"), "{refused}");

    cluster.lab().heal_all().expect("heal");
    eventually("the old leader follows", || {
        let listed = cluster.ctl(&leader, &["config", "ls", "--format", "{{.Name}}"]);
        if listed.stdout.trim() == "kept" { Ok(()) } else { Err(format!("{listed:?}")) }
    });
    cluster.wait_running(&leader, "s", 3);
    assert_eq!(cluster.containers(), before, "tasks on both sides went on");
}
