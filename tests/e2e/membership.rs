//! The managers as a group: what would lose their quorum is refused with the arithmetic, hosts that move are found again, a lost
//! log is got back, and commands are carried out once whoever leads.

use std::sync::atomic::{AtomicBool, Ordering};

use support::{Cluster, Outcome, eventually};

/// `hostname manager-status` of every node that is or was a manager.
fn managers(cluster: &Cluster, node: &str) -> Vec<String> {
    let format = "{{.Hostname}} {{.ManagerStatus}}";
    let listed = cluster.ctl(node, &["node", "ls", "--format", format]);
    let lines = listed.stdout.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| line.contains(' ')).collect()
}

/// Waits until so many managers lead or are reachable, and no other is left.
fn wait_managers(cluster: &Cluster, node: &str, wanted: usize) {
    eventually(&format!("{node} sees {wanted} managers"), || {
        let seen = managers(cluster, node);
        let well = seen.iter().filter(|m| m.ends_with(" Leader") || m.ends_with(" Reachable"));
        let all = well.count() == wanted && seen.len() == wanted;
        if all { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

fn wait_unreachable(cluster: &Cluster, node: &str, lost: &str) {
    eventually(&format!("{node} sees that {lost} does not answer"), || {
        let seen = managers(cluster, node);
        let gone = seen.contains(&format!("{lost} Unreachable"));
        if gone { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// Address of a manager, as `node` shows it.
fn manager_address(cluster: &Cluster, node: &str, manager: &str) -> String {
    let format = "{{.ManagerStatus.Addr}}";
    cluster.ctl(node, &["node", "inspect", "--format", format, manager]).stdout.trim().to_owned()
}

const LOSS: &str =
    "3 managers, 2 reachable, quorum 2: after this 2 managers, quorum 2, reachable 1";

#[test]
fn whatever_would_lose_the_quorum_is_refused_with_the_arithmetic_and_changes_nothing() {
    let cluster = Cluster::new(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    let names = ["m1", "m2", "m3"];
    let [other, lost] = names.iter().filter(|n| **n != leader).collect::<Vec<_>>()[..] else {
        panic!("{leader} of {names:?}")
    };
    cluster.lab().kill(lost).expect("kill");
    wait_unreachable(&cluster, &leader, lost);
    let before = managers(&cluster, other);
    for (at, args) in [
        (leader.as_str(), ["node", "demote", other].as_slice()),
        (other, &["node", "demote", other]),
        (other, &["node", "demote", &leader]),
        (&leader, &["node", "update", "--role", "worker", other]),
        (other, &["leave"]),
        (&leader, &["leave"]),
    ] {
        let refused = cluster.ctl(at, args).refused();
        assert!(refused.contains(LOSS), "{at}: {args:?}: {refused}");
    }
    let refused = cluster.ctl(&leader, &["node", "rm", "--force", lost]).refused();
    assert!(refused.contains("must be demoted to worker before removal"), "{refused}");
    assert!(refused.contains("after this 2 managers, quorum 2, reachable 2"), "{refused}");
    assert_eq!(managers(&cluster, other), before);

    // The dead one may go, and then a living one: one is enough for one.
    cluster.ctl(other, &["node", "demote", lost]).ok();
    wait_managers(&cluster, &leader, 2);
    cluster.ctl(other, &["node", "demote", other]).ok();
    wait_managers(&cluster, &leader, 1);
    let refused = cluster.ctl(&leader, &["node", "demote", &leader]).refused();
    assert!(refused.contains("attempting to demote the last manager"), "{refused}");
    cluster.ctl(&leader, &["node", "rm", "--force", lost]).ok();
}

#[test]
fn a_forced_leave_says_what_is_lost_and_those_left_say_who_is_missing() {
    let cluster = Cluster::new(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    let names = ["m1", "m2", "m3"];
    let [other, lost] = names.iter().filter(|n| **n != leader).collect::<Vec<_>>()[..] else {
        panic!("{leader} of {names:?}")
    };
    cluster.lab().kill(lost).expect("kill");
    wait_unreachable(&cluster, &leader, lost);
    let left = cluster.ctl(other, &["leave", "--force"]);
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(left.stderr.contains("the swarm has lost its quorum: 1 of 3 managers"), "{left:?}");
    assert!(left.stderr.contains(LOSS), "{left:?}");
    let refused = cluster.ctl(&leader, &["node", "ls"]).refused();
    assert!(refused.contains("1 of 3 managers answer and 2 are needed"), "{refused}");
    assert!(refused.contains(&format!("{lost} at ")), "{refused}");
    let info = cluster.ctl(&leader, &["info"]).ok();
    assert!(info.contains("swarmctl reach"), "{info}");
}

#[test]
fn managers_promoted_and_demoted_at_the_same_time_all_end_as_asked() {
    let cluster = Cluster::new(1, 2);
    let both = |verb: &str| {
        std::thread::scope(|scope| {
            for node in ["w1", "w2"] {
                let cluster = &cluster;
                scope.spawn(move || cluster.ctl("m1", &["node", verb, node]).ok());
            }
        });
    };
    both("promote");
    wait_managers(&cluster, "m1", 3);
    eventually("both serve", || {
        let served = ["w1", "w2"].map(|node| cluster.ctl(node, &["node", "ls"]).code);
        if served == [Some(0), Some(0)] { Ok(()) } else { Err(format!("{served:?}")) }
    });
    both("demote");
    wait_managers(&cluster, "m1", 1);
    cluster.ctl("m1", &["config", "create", "after", "/etc/hostname"]).ok();
}

#[test]
fn a_manager_whose_host_has_another_address_is_found_again_also_the_leader() {
    let mut cluster = Cluster::new(3, 1);
    for round in 0..2 {
        let node = cluster.leader("m1").expect("a leader");
        let node = if round == 0 { node } else { "m2".to_owned() };
        let address = cluster.move_host(&node);
        cluster.lab().start(&node).expect("start");
        for witness in ["m1", "m2", "m3"] {
            eventually(&format!("{witness} knows where {node} is"), || {
                let seen = manager_address(&cluster, witness, &node);
                if seen.starts_with(&format!("{address}:")) { Ok(()) } else { Err(seen) }
            });
        }
        wait_managers(&cluster, &node, 3);
        let name = format!("moved{round}");
        cluster.ctl(&node, &["config", "create", &name, "/etc/hostname"]).ok();
        eventually("the worker was told", || {
            let known = cluster.ctl("w1", &["info"]).stdout;
            if known.contains(&address) { Ok(()) } else { Err(known) }
        });
    }
}

#[test]
fn managers_that_all_moved_find_each_other_through_a_worker_and_its_tasks_go_on() {
    let mut cluster = Cluster::with_busybox(3, 1);
    let place = ["--constraint", "node.role==worker", "--name", "s"];
    cluster.create("m1", &[&place[..], &["busybox", "sleep", "1000"]].concat());
    cluster.wait_running("m1", "s", 1);
    let before = cluster.containers();
    let moved: Vec<String> = ["m1", "m2", "m3"].iter().map(|m| cluster.move_host(m)).collect();
    for node in ["m1", "m2", "m3"] {
        cluster.lab().start(node).expect("start");
    }
    wait_managers(&cluster, "m3", 3);
    for (node, address) in ["m1", "m2", "m3"].iter().zip(&moved) {
        eventually("the new address is written down", || {
            let seen = manager_address(&cluster, "m1", node);
            if seen.starts_with(&format!("{address}:")) { Ok(()) } else { Err(seen) }
        });
    }
    cluster.ctl("m2", &["service", "scale", "-d", "s=2"]).ok();
    cluster.wait_running("m2", "s", 2);
    assert!(cluster.containers().is_superset(&before), "what ran goes on");
}

#[test]
fn managers_that_all_moved_unseen_say_what_to_do_and_that_helps() {
    let mut cluster = Cluster::new(3, 0);
    cluster.ctl("m1", &["config", "create", "kept", "/etc/hostname"]).ok();
    let former = cluster.address("m2");
    let moved: Vec<String> = ["m1", "m2", "m3"].iter().map(|m| cluster.move_host(m)).collect();
    for node in ["m1", "m2", "m3"] {
        cluster.lab().start(node).expect("start");
    }
    let refused = cluster.ctl("m1", &["config", "ls"]).refused();
    assert!(refused.contains("this manager moved from"), "{refused}");
    assert!(refused.contains(&former) && refused.contains("swarmctl reach"), "{refused}");
    let info = cluster.ctl("m1", &["info"]).ok();
    assert!(info.contains("swarmctl reach"), "{info}");
    let nobody = cluster.ctl("m1", &["reach", &former]).refused();
    assert!(nobody.contains(&format!("no manager at {former}:2377")), "{nobody}");

    let found = cluster.ctl("m1", &["reach", &moved[1]]).ok();
    assert!(found.contains(&format!("answers at {}:2377", moved[1])), "{found}");
    wait_managers_up(&cluster, "m1", 2);
    cluster.ctl("m1", &["reach", &moved[2]]).ok();
    wait_managers(&cluster, "m3", 3);
    assert_eq!(cluster.ctl("m3", &["config", "ls", "--format", "{{.Name}}"]).ok(), "kept");
}

/// Waits until so many managers lead or are reachable, whatever the others do.
fn wait_managers_up(cluster: &Cluster, node: &str, wanted: usize) {
    eventually(&format!("{node} sees {wanted} managers up"), || {
        let seen = managers(cluster, node);
        let well = seen.iter().filter(|m| m.ends_with(" Leader") || m.ends_with(" Reachable"));
        if well.count() >= wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_manager_whose_log_is_gone_comes_back_by_itself() {
    let cluster = Cluster::new(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    for lost in [leader.as_str(), "m2"] {
        cluster.lab().kill(lost).expect("kill");
        let folder = cluster.state_dir(lost).join("cluster/raft");
        std::fs::remove_dir_all(&folder).expect("the log's folder");
        cluster.lab().start(lost).expect("start");
        eventually("it serves again", || {
            let listed = cluster.ctl(lost, &["node", "ls"]);
            if listed.code == Some(0) { Ok(()) } else { Err(listed.stderr) }
        });
        wait_managers(&cluster, lost, 3);
        let name = format!("by-{lost}-{}", folder.exists());
        cluster.ctl(lost, &["config", "create", &name, "/etc/hostname"]).ok();
    }
}

#[test]
fn a_manager_that_is_lost_for_long_is_replaced_by_the_node_set_aside_for_it() {
    let cluster = Cluster::new(3, 2);
    cluster.ctl("m1", &["node", "update", "--label-add", "swarm.spare-manager=true", "w2"]).ok();
    cluster.ctl("m1", &["update", "--spare-managers", "3", "--spare-after", "10s"]).ok();
    let leader = cluster.leader("m1").expect("a leader");
    let lost = ["m1", "m2", "m3"].into_iter().find(|n| **n != *leader).expect("a follower");
    cluster.lab().kill(lost).expect("kill");
    let role = |node: &str| {
        cluster.ctl(&leader, &["node", "inspect", "--format", "{{.Spec.Role}}", node]).ok()
    };
    eventually("w2 is a manager in its place", || {
        let seen = managers(&cluster, &leader);
        let there = seen.contains(&"w2 Reachable".to_owned());
        let gone = !seen.iter().any(|m| m.starts_with(lost));
        if there && gone && seen.len() == 3 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(role("w1"), "worker", "a node not set aside stays what it is");
    // The one that was lost comes back as a worker.
    cluster.lab().start(lost).expect("start");
    eventually("it is a worker", || {
        let refused = cluster.ctl(lost, &["node", "ls"]);
        let worker = refused.stderr.contains("this node is a worker");
        if worker { Ok(()) } else { Err(format!("{refused:?}")) }
    });
}

#[test]
fn every_command_is_carried_out_once_while_leaders_are_killed() {
    let cluster = Cluster::new(3, 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = 0;
            while !done.load(Ordering::Relaxed) {
                let Some(leader) = ["m1", "m2", "m3"].iter().find_map(|m| cluster.leader(m).ok())
                else {
                    continue;
                };
                cluster.lab().kill(&leader).expect("kill");
                eventually("another leads", || {
                    let others = ["m1", "m2", "m3"].into_iter().filter(|m| *m != leader);
                    let mut seen = others.map(|m| cluster.leader(m));
                    let next = seen.find(|seen| seen.as_ref().is_ok_and(|now| *now != leader));
                    next.unwrap_or_else(|| Err("no leader".into()))
                });
                // As whatever supervises the daemon does.
                cluster.lab().start(&leader).expect("start");
                killed += 1;
                // Until the next one leads and the former is back.
                wait_managers_up(&cluster, "m1", 3);
            }
            killed
        });
        let loops: Vec<_> = ["m1", "m2", "m3"]
            .map(|node| {
                let cluster = &cluster;
                scope.spawn(move || (0..12).for_each(|n| change_once(cluster, node, n)))
            })
            .into_iter()
            .collect();
        let results: Vec<_> = loops.into_iter().map(|l| l.join()).collect();
        done.store(true, Ordering::Relaxed);
        let killed = killer.join().expect("the killer");
        assert!(killed >= 3, "{killed} leaders were killed");
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(cluster.ctl("m1", &["service", "ls", "-q"]).ok(), "", "all were removed");
}

/// A command as given on `node` as soon as its daemon is there: one that finds none asks for nothing.
fn given(cluster: &Cluster, node: &str, args: &[&str]) -> Outcome {
    eventually(&format!("{node} is up"), || {
        let outcome = cluster.ctl(node, args);
        let absent = outcome.stderr.contains("swarmd is not running at");
        if absent { Err(outcome.stderr) } else { Ok(outcome) }
    })
}

/// Makes, changes and removes a service. Were one of these done twice, the second would be refused; were one not done, the next.
fn change_once(cluster: &Cluster, node: &str, n: usize) {
    let name = format!("{node}-{n}");
    let flags = ["service", "create", "-d", "--no-resolve-image", "--replicas", "0", "--name"];
    let made = given(cluster, node, &[&flags[..], &[&name, "none"]].concat());
    assert_eq!(made.code, Some(0), "create {name}: {made:?}");
    let label = format!("n={n}");
    let changed = given(cluster, node, &["service", "update", "-d", "--label-add", &label, &name]);
    assert_eq!(changed.code, Some(0), "update {name}: {changed:?}");
    let format = "{{.Spec.Labels.n}}";
    let seen = given(cluster, node, &["service", "inspect", "--format", format, &name]);
    assert_eq!((seen.code, seen.stdout.trim()), (Some(0), n.to_string().as_str()), "{seen:?}");
    let removed = given(cluster, node, &["service", "rm", &name]);
    assert_eq!(removed.code, Some(0), "rm {name}: {removed:?}");
}
