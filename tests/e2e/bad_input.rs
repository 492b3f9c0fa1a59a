//! What users get wrong: one clear line each that says what to do, another exit code than 0, and nothing changed.

use support::{Cluster, eventually};

/// Gives the command and holds its one line against what it must contain.
fn refuse(cluster: &Cluster, node: &str, args: &[&str], wanted: &[&str]) {
    let outcome = cluster.ctl(node, args);
    assert_eq!(outcome.stdout, "", "{args:?}");
    let line = outcome.refused();
    for text in wanted {
        assert!(line.contains(text), "{args:?}: want {text:?} in: {line}");
    }
}

#[test]
fn a_join_that_cannot_be_says_why_and_leaves_the_host_as_it_was() {
    let cluster = Cluster::apart(2);
    cluster.ctl("m1", &["init"]).ok();
    let token = cluster.ctl("m1", &["join-token", "-q", "worker"]).ok();
    let address = cluster.address("m1");
    let nobody = address.trim_end_matches("11").to_owned() + "99";
    let secret = token.rsplit('-').next().expect("a token has parts");
    let wrong_secret = token.replace(secret, &"0".repeat(25));
    let wrong_root = format!("SWMTKN-1-{}-{secret}", "0".repeat(50));
    let closed = format!("{address}:9");
    let cases: [(&str, &str, &[&str]); 7] = [
        ("nonsense", &address, &["invalid join token"]),
        (&token[..60], &address, &["invalid join token"]),
        (&wrong_secret, &address, &["a valid join token is necessary", "join-token worker"]),
        (&wrong_root, &address, &["does not match the join token", "check the address"]),
        (&token, &nobody, &["cannot reach", &nobody, "address of a running manager"]),
        (&token, &closed, &["cannot reach", &closed, "refused"]),
        (&token, "no port:x", &["no port:x", "address of a running manager"]),
    ];
    for (token, address, wanted) in cases {
        refuse(&cluster, "m2", &["join", "--token", token, address], wanted);
        assert!(cluster.ctl("m2", &["info"]).ok().contains("Swarm: inactive"), "{token} {address}");
    }
    cluster.ctl("m1", &["join-token", "--rotate", "-q", "worker"]).ok();
    let old = ["join", "--token", &token, &address];
    refuse(&cluster, "m2", &old, &["a valid join token is necessary"]);
    assert_eq!(cluster.ctl("m1", &["node", "ls", "-q"]).ok().lines().count(), 1);
    refuse(&cluster, "m2", &["node", "ls"], &["not in a cluster", "swarmctl init"]);
    refuse(&cluster, "m2", &["leave"], &["not part of a swarm"]);
    refuse(&cluster, "m1", &["init"], &["already part of a swarm", "swarmctl leave"]);
    // The host is none the worse for it.
    let fresh = cluster.ctl("m1", &["join-token", "-q", "worker"]).ok();
    cluster.ctl("m2", &["join", "--token", &fresh, &address]).ok();
    refuse(&cluster, "m2", &["service", "ls"], &["this node is a worker", "node promote m2"]);
    let create = ["service", "create", "busybox"];
    refuse(&cluster, "m2", &create, &["this node is a worker", "node promote m2"]);
    refuse(&cluster, "m2", &old, &["already part of a swarm"]);
}

#[test]
fn a_service_that_cannot_be_says_why_and_is_not_made() {
    let cluster = Cluster::with_busybox(1, 0);
    let first = ["--name", "first", "--replicas", "0", "-p", "8080:80", "busybox", "true"];
    cluster.create("m1", &first);
    let cases: &[(&[&str], &[&str])] = &[
        (&["--name", "first", "busybox"], &["service first already exists"]),
        (&["--name", "a b", "busybox"], &["a b", "name"]),
        (&["--network", "nosuch", "busybox"], &["network nosuch not found"]),
        (&["--secret", "nosuch", "busybox"], &["secret", "nosuch", "not found"]),
        (&["--config", "nosuch", "busybox"], &["config", "nosuch", "not found"]),
        (&["--name", "second", "-p", "8080:80", "busybox"], &["8080", "first", "already in use"]),
        (&["-p", "70000:80", "busybox"], &["70000"]),
        (&["-p", "80:x", "busybox"], &["invalid port \"x\""]),
        (&["--constraint", "node.role=manager", "busybox"], &["node.role=manager", "=="]),
        (&["--constraint", "node.role==", "busybox"], &["node.role=="]),
        (&["Busy Box"], &["Busy Box", "reference"]),
        (&["busybox@sha256:12"], &["busybox@sha256:12"]),
        (&["--mount", "type=what,target=/x", "busybox"], &["what", "volume"]),
        (&["--mount", "type=bind,source=/x", "busybox"], &["target"]),
        (&["--mount", "type=bind,target=/x", "busybox"], &["source"]),
        (&["--mount", "type=tmpfs,target=x", "busybox"], &["x", "absolute"]),
        (&["--mount", "target=/x", "--mount", "type=tmpfs,target=/x", "busybox"], &["/x"]),
        (&["--limit-memory", "1k", "busybox"], &["1024", "must be at least"]),
        (&["--limit-memory", "lots", "busybox"], &["lots"]),
        (&["--limit-cpu", "-1", "busybox"], &["-1"]),
        (&["--env", "=x", "busybox"], &["=x"]),
        (&["--mode", "global", "--replicas", "2", "busybox"], &["replicas", "replicated"]),
        (&["--stop-signal", "NOPE", "busybox"], &["NOPE"]),
        (&["--restart-delay", "soon", "busybox"], &["soon"]),
    ];
    for (args, wanted) in cases {
        refuse(&cluster, "m1", &[&["service", "create", "-d"], *args].concat(), wanted);
    }
    let verbs: &[(&[&str], &[&str])] = &[
        (&["service", "rm", "nosuch"], &["service nosuch not found"]),
        (&["service", "scale", "nosuch=2"], &["service nosuch not found"]),
        (&["service", "scale", "first=many"], &["many"]),
        (&["service", "logs", "nosuch"], &["nosuch"]),
        (&["service", "ps", "nosuch"], &["nosuch"]),
        (
            &["service", "update", "-d", "--no-resolve-image", "--image", "Busy Box", "first"],
            &["Busy Box", "reference"],
        ),
        (&["node", "update", "--availability", "drain", "nosuch"], &["node nosuch not found"]),
        (&["network", "rm", "nosuch"], &["network nosuch not found"]),
        (&["secret", "create", "a b", "/etc/hostname"], &["a b"]),
        (&["secret", "create", "s", "/no/such/file"], &["/no/such/file"]),
        (&["image", "load", "-i", "/no/such/file"], &["/no/such/file"]),
    ];
    for (args, wanted) in verbs {
        refuse(&cluster, "m1", args, wanted);
    }
    assert_eq!(cluster.ctl("m1", &["service", "ls", "--format", "{{.Name}}"]).ok(), "first");
    assert_eq!(cluster.tasks("m1", "first"), []);
    assert_eq!(cluster.ctl("m1", &["secret", "ls", "-q"]).ok(), "");
}

#[test]
fn without_a_daemon_or_without_a_quorum_nothing_is_done_and_the_reason_is_said() {
    let cluster = Cluster::new(3, 0);
    let leader = cluster.leader("m1").expect("a leader");
    let rest: Vec<&str> = ["m1", "m2", "m3"].into_iter().filter(|m| *m != leader).collect();
    cluster.lab().kill(rest[0]).expect("kill");
    refuse(&cluster, rest[0], &["node", "ls"], &["swarmd is not running", "start it"]);
    cluster.lab().kill(&leader).expect("kill");
    let create = ["config", "create", "c", "/etc/hostname"];
    let wanted = ["the cluster has no leader", "more than half of its managers must run"];
    refuse(&cluster, rest[1], &create, &wanted);
    refuse(&cluster, rest[1], &["service", "ls"], &wanted);
    // What needs no quorum still works.
    assert!(cluster.ctl(rest[1], &["info"]).ok().contains("Is Manager: true"));
    cluster.ctl(rest[1], &["image", "ls"]).ok();

    cluster.lab().start(&leader).expect("start");
    let listed = eventually("two of three are a quorum", || {
        let listed = cluster.ctl(rest[1], &["config", "ls", "--format", "{{.Name}}"]);
        if listed.code == Some(0) { Ok(listed.stdout) } else { Err(listed.stderr) }
    });
    assert_eq!(listed, "", "a refused write does not come true later");
}
