//! Membership: joining by token, roles, availability, removal and leaving.

use support::{Cluster, eventually};

fn token(cluster: &Cluster, node: &str, role: &str) -> String {
    cluster.ctl(node, &["join-token", "-q", role]).ok()
}

/// Joins `host` to the cluster of `manager`.
fn join(cluster: &Cluster, host: &str, role: &str, manager: &str) {
    let token = token(cluster, manager, role);
    let said = cluster.ctl(host, &["join", "--token", &token, &cluster.address(manager)]).ok();
    assert_eq!(said, format!("This node joined a swarm as a {role}."));
}

/// `hostname status availability manager-status` of every node.
fn nodes(cluster: &Cluster, node: &str) -> Vec<String> {
    let format = "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}";
    let listed = cluster.ctl(node, &["node", "ls", "--format", format]);
    listed.stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn wait_nodes(cluster: &Cluster, node: &str, wanted: &[&str]) {
    eventually(&format!("{node} sees {wanted:?}"), || {
        let seen = nodes(cluster, node);
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn hosts_join_by_token_as_what_the_token_says_and_a_rotated_token_is_refused() {
    let cluster = Cluster::apart(4);
    let said = cluster.ctl("m1", &["init"]).ok();
    let worker = token(&cluster, "m1", "worker");
    assert!(said.contains(&format!("join --token {worker} {}:2377", cluster.address("m1"))));
    join(&cluster, "m2", "worker", "m1");
    join(&cluster, "m3", "manager", "m1");
    wait_nodes(
        &cluster,
        "m3",
        &["m1 Ready Active Leader", "m2 Ready Active", "m3 Ready Active Reachable"],
    );

    let said = cluster.ctl("m3", &["join-token", "--rotate", "worker"]).ok();
    let fresh = token(&cluster, "m1", "worker");
    assert!(said.starts_with("Successfully rotated worker join token.") && said.contains(&fresh));
    assert_ne!(fresh, worker);
    let address = cluster.address("m1");
    let refused = cluster.ctl("m4", &["join", "--token", &worker, &address]).refused();
    assert!(refused.contains("a valid join token is necessary to join this cluster"), "{refused}");
    assert!(cluster.ctl("m4", &["info"]).ok().contains("Swarm: inactive"));
    // The nodes that are in stay in, and the new token lets in through any manager.
    join(&cluster, "m4", "worker", "m3");
    wait_nodes(
        &cluster,
        "m1",
        &[
            "m1 Ready Active Leader",
            "m2 Ready Active",
            "m3 Ready Active Reachable",
            "m4 Ready Active",
        ],
    );
}

#[test]
fn a_promoted_worker_is_a_reachable_manager_and_the_leader_can_be_demoted() {
    let cluster = Cluster::new(3, 1);
    let leader = cluster.leader("m1").expect("a leader");
    let said = cluster.ctl("m1", &["node", "promote", "w1"]).ok();
    assert_eq!(said, "Node w1 promoted to a manager in the swarm.");
    eventually("w1 is reachable, and serves", || {
        let seen = nodes(&cluster, "w1");
        let reachable = seen.contains(&"w1 Ready Active Reachable".to_owned());
        if reachable { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(cluster.ctl("m1", &["node", "promote", "w1"]).ok(), "Node w1 is already a manager.");

    let said = cluster.ctl("m1", &["node", "demote", &leader]).ok();
    assert_eq!(said, format!("Manager {leader} demoted in the swarm."));
    let successor = eventually("another leads", || match cluster.leader("w1") {
        Ok(now) if now != leader => Ok(now),
        other => Err(format!("{other:?}")),
    });
    eventually("the former leader is a worker like any", || {
        let seen = nodes(&cluster, &successor);
        let worker = seen.contains(&format!("{leader} Ready Active"));
        let refused = cluster.ctl(&leader, &["node", "ls"]).stderr;
        let plain = refused.contains("this node is a worker");
        if worker && plain { Ok(()) } else { Err(format!("{seen:?} {refused}")) }
    });
    cluster.ctl("w1", &["config", "create", "after", "/etc/hostname"]).ok();
}

#[test]
fn the_last_manager_cannot_be_demoted() {
    let cluster = Cluster::new(1, 0);
    let refused = cluster.ctl("m1", &["node", "demote", "m1"]).refused();
    assert!(refused.contains("attempting to demote the last manager of the swarm"), "{refused}");
    wait_nodes(&cluster, "m1", &["m1 Ready Active Leader"]);
}

#[test]
fn drain_moves_tasks_away_and_pause_takes_no_new_ones() {
    let cluster = Cluster::with_busybox(1, 2);
    cluster.create("m1", &["--name", "s", "--replicas", "6", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 6);
    assert_eq!(cluster.hosts_of("m1", "s"), ["m1", "m1", "w1", "w1", "w2", "w2"]);

    cluster.ctl("m1", &["node", "update", "--availability", "pause", "w2"]).ok();
    assert_eq!(cluster.ctl("m1", &["node", "update", "--availability", "drain", "w1"]).ok(), "w1");
    eventually("the tasks of w1 run on m1", || {
        let hosts = cluster.hosts_of("m1", "s");
        let moved = hosts == ["m1", "m1", "m1", "m1", "w2", "w2"];
        if moved { Ok(()) } else { Err(format!("{hosts:?}")) }
    });
    wait_nodes(&cluster, "m1", &["m1 Ready Active Leader", "w1 Ready Drain", "w2 Ready Pause"]);
    eventually("nothing is left on the drained node", || {
        let left = cluster.containers().len();
        if left == 6 { Ok(()) } else { Err(format!("{left} containers")) }
    });

    cluster.ctl("m1", &["node", "update", "--availability", "active", "w1"]).ok();
    cluster.ctl("m1", &["service", "scale", "-d", "s=8"]).ok();
    cluster.wait_running("m1", "s", 8);
    assert_eq!(
        cluster.hosts_of("m1", "s"),
        ["m1", "m1", "m1", "m1", "w1", "w1", "w2", "w2"],
        "new tasks go to the node that is active again, none to the paused one"
    );
}

#[test]
fn a_node_is_removed_when_it_is_down_and_its_certificate_is_refused_from_then_on() {
    let cluster = Cluster::new(2, 1);
    let refused = cluster.ctl("m1", &["node", "rm", "w1"]).refused();
    assert!(refused.contains("is not down and can't be removed"), "{refused}");
    let refused = cluster.ctl("m1", &["node", "rm", "--force", "m2"]).refused();
    assert!(refused.contains("must be demoted to worker before removal"), "{refused}");

    cluster.lab().kill("w1").expect("kill");
    eventually("w1 is down", || {
        let seen = nodes(&cluster, "m1");
        let down = seen.contains(&"w1 Down Active".to_owned());
        if down { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(cluster.ctl("m1", &["node", "rm", "w1"]).ok(), "w1");
    cluster.lab().start("w1").expect("start");
    eventually("w1 knows that it was removed", || {
        let info = cluster.ctl("w1", &["info"]);
        let told = info.stdout.contains("was removed from the swarm");
        if told { Ok(()) } else { Err(format!("{info:?}")) }
    });
    assert_eq!(nodes(&cluster, "m1").len(), 2);

    // It may come back as a new node.
    cluster.ctl("w1", &["leave"]).ok();
    join(&cluster, "w1", "worker", "m2");
    eventually("w1 is back", || {
        let seen = nodes(&cluster, "m1");
        let ready = seen.contains(&"w1 Ready Active".to_owned());
        if ready { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_ready_node_removed_by_force_is_refused_at_once_and_ends_its_tasks() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.create("m1", &["--name", "s", "--replicas", "2", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 2);
    cluster.ctl("m1", &["node", "rm", "--force", "w1"]).ok();
    eventually("both tasks run on m1, and nothing else does", || {
        let (hosts, containers) = (cluster.hosts_of("m1", "s"), cluster.containers());
        let moved = hosts == ["m1", "m1"] && containers.len() == 2;
        if moved { Ok(()) } else { Err(format!("{hosts:?} {containers:?}")) }
    });
    let info = cluster.ctl("w1", &["info"]).ok();
    assert!(info.contains("was removed from the swarm"), "{info}");
}

#[test]
fn a_worker_just_leaves_and_a_manager_only_by_force() {
    let cluster = Cluster::with_busybox(3, 1);
    cluster.create("m1", &["--name", "s", "--mode", "global", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 4);
    assert_eq!(cluster.ctl("w1", &["leave"]).ok(), "Node left the swarm.");
    assert!(cluster.ctl("w1", &["info"]).ok().contains("Swarm: inactive"));
    eventually("its container is gone and it is listed as down", || {
        let (seen, left) = (nodes(&cluster, "m1"), cluster.containers().len());
        let down = seen.contains(&"w1 Down Active".to_owned());
        if down && left == 3 { Ok(()) } else { Err(format!("{left} {seen:?}")) }
    });
    let refused = cluster.ctl("w1", &["leave"]).refused();
    assert!(refused.contains("this node is not part of a swarm"), "{refused}");

    let refused = cluster.ctl("m3", &["leave"]).refused();
    assert!(refused.contains("leaves 2 managers out of 3"), "{refused}");
    assert_eq!(cluster.ctl("m3", &["leave", "--force"]).ok(), "Node left the swarm.");
    eventually("two managers go on", || {
        let seen = nodes(&cluster, "m1");
        let managers = seen.iter().filter(|n| n.ends_with("Leader") || n.ends_with("Reachable"));
        if managers.count() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // It was taken out of the voters: of two managers the other is enough to leave, then one is alone.
    cluster.ctl("m2", &["leave", "--force"]).ok();
    cluster.ctl("m1", &["config", "create", "after", "/etc/hostname"]).ok();
    let refused = cluster.ctl("m1", &["leave"]).refused();
    assert!(refused.contains("Removing the last manager erases all current state"), "{refused}");
    cluster.ctl("m1", &["leave", "--force"]).ok();
    assert!(cluster.ctl("m1", &["node", "ls"]).refused().contains("swarmctl init"));
    assert!(cluster.containers().is_empty());
}
