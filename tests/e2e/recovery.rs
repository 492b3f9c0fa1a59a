//! What is left when managers are gone for good: the last one goes on, a snapshot becomes a cluster
//! again; and managers whose keys are locked.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use support::{Cluster, Outcome, binary, eventually};

/// `hostname status manager-status` of every node.
fn nodes(cluster: &Cluster, node: &str) -> Vec<String> {
    let format = "{{.Hostname}} {{.Status}} {{.ManagerStatus}}";
    let listed = cluster.ctl(node, &["node", "ls", "--format", format]);
    listed.stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn wait_nodes(cluster: &Cluster, node: &str, wanted: &[&str]) {
    eventually(&format!("{node} sees {wanted:?}"), || {
        let mut seen = nodes(cluster, node);
        seen.sort();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// The command with `input` on its standard input.
fn fed(cluster: &Cluster, node: &str, args: &[&str], input: &str) -> Outcome {
    let mut command = cluster.ctl_command(node, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("swarmctl starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it reads.
    let _ = writeln!(stdin, "{input}");
    drop(stdin);
    let output = child.wait_with_output().expect("swarmctl ends");
    Outcome::from_output(format!("{args:?}"), output)
}

/// The daemon's program with a host's own flags and some more, until it ends or for some seconds.
fn daemon(cluster: &Cluster, node: &str, flags: &str) -> Outcome {
    let (program, state) = (binary("swarmd"), cluster.state_dir(node));
    let address = cluster.address(node);
    let line = format!(
        "timeout -s TERM 12 {} --state-dir {} --run-dir /run/swarmd --hostname {node} \
         --listen-addr {address}:2377 --advertise-addr {address} \
         --host unix:///run/swarmd/swarmd.sock {flags}",
        program.display(),
        state.display()
    );
    cluster.on_host(node, &line)
}

/// Pids of the service's containers on some nodes.
fn pids(cluster: &Cluster, service: &str, on: &[&str]) -> BTreeSet<u32> {
    let all = cluster.containers_of(service).into_iter();
    all.filter(|c| on.contains(&c.node.as_str())).map(|c| c.pid).collect()
}

/// A secret, a config and a service with a task on every node.
fn furnish(cluster: &Cluster, tasks: usize) {
    cluster.ctl("m1", &["secret", "create", "s3", "/etc/hostname"]).ok();
    cluster.ctl("m1", &["config", "create", "c3", "/etc/hostname"]).ok();
    let flags = ["--name", "s", "--mode", "global", "--secret", "s3", "--config", "c3"];
    cluster.create("m1", &[&flags[..], &["busybox", "sleep", "1000"]].concat());
    cluster.wait_running("m1", "s", tasks);
}

/// All that [`furnish`] made is there, as `node` sees it.
fn furnished(cluster: &Cluster, node: &str) {
    assert_eq!(cluster.ctl(node, &["secret", "ls", "--format", "{{.Name}}"]).ok(), "s3");
    assert_eq!(cluster.ctl(node, &["config", "ls", "--format", "{{.Name}}"]).ok(), "c3");
    assert_eq!(cluster.ctl(node, &["service", "ls", "--format", "{{.Name}}"]).ok(), "s");
}

fn destroy(cluster: &Cluster, node: &str) {
    cluster.lab().kill(node).expect("kill");
    cluster.lab().cut(node).expect("cut");
    let disk = cluster.state_dir(node).join("cluster");
    std::fs::remove_dir_all(disk).expect("its disk is gone");
}

#[test]
fn the_last_of_three_managers_goes_on_alone_with_everything_and_restarts_no_container() {
    let cluster = Cluster::with_busybox(3, 1);
    furnish(&cluster, 4);
    let before = pids(&cluster, "s", &["m3", "w1"]);
    assert_eq!(before.len(), 2);
    destroy(&cluster, "m1");
    destroy(&cluster, "m2");
    let refused = cluster.ctl("m3", &["node", "ls"]).refused();
    assert!(refused.contains("the cluster has no leader"), "{refused}");

    let refused = cluster.ctl("w1", &["init", "--force-new-cluster"]).refused();
    assert!(refused.contains("this node is a worker"), "{refused}");
    let said = cluster.ctl("m3", &["init", "--force-new-cluster"]).ok();
    assert!(said.starts_with("Swarm initialized: current node ("), "{said}");
    wait_nodes(&cluster, "m3", &["m1 Down", "m2 Down", "m3 Ready Leader", "w1 Ready"]);
    furnished(&cluster, "m3");
    assert_eq!(pids(&cluster, "s", &["m3", "w1"]), before, "their containers went on");
    // It decides again, and the worker does as it says.
    cluster.create("m3", &["--name", "new", "--replicas", "2", "busybox", "sleep", "1000"]);
    cluster.wait_running("m3", "new", 2);
    cluster.ctl("m3", &["node", "rm", "m1", "m2"]).ok();
}

#[test]
fn a_daemon_is_told_to_make_a_new_cluster_at_its_start_and_does_so_once() {
    let cluster = Cluster::with_busybox(3, 1);
    furnish(&cluster, 4);
    for node in ["m1", "m2", "m3", "w1"] {
        cluster.lab().kill(node).expect("kill");
    }
    let before = pids(&cluster, "s", &["m3", "w1"]);
    let worker = daemon(&cluster, "w1", "--force-new-cluster");
    assert!(worker.stderr.contains("this node is a worker"), "{worker:?}");
    let first = daemon(&cluster, "m3", "--force-new-cluster");
    assert!(first.stderr.contains("this manager leads"), "{first:?}");
    let second = daemon(&cluster, "m3", "--force-new-cluster");
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("already become the only manager"), "{second:?}");

    cluster.lab().start("m3").expect("start");
    cluster.lab().start("w1").expect("start");
    eventually("m3 leads", || match cluster.leader("m3") {
        Ok(leader) if leader == "m3" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    furnished(&cluster, "m3");
    // One that was not lost after all becomes a worker, and its tasks are taken over as they are.
    cluster.lab().start("m1").expect("start");
    wait_nodes(&cluster, "m3", &["m1 Ready", "m2 Down", "m3 Ready Leader", "w1 Ready"]);
    assert!(before.is_subset(&pids(&cluster, "s", &["m1", "m3", "w1"])));
    eventually("m1 knows that it is a worker", || {
        let refused = cluster.ctl("m1", &["node", "ls"]).stderr;
        if refused.contains("this node is a worker") { Ok(()) } else { Err(refused) }
    });
    cluster.ctl("m3", &["node", "promote", "m1"]).ok();
    eventually("m1 is a manager again", || {
        let seen = nodes(&cluster, "m3");
        if seen.contains(&"m1 Ready Reachable".to_owned()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}

/// A saved snapshot of the cluster and a file with its key.
fn saved(cluster: &Cluster, node: &str) -> (PathBuf, PathBuf) {
    let dir = cluster.state_dir(node).parent().expect("a lab's folder").to_owned();
    let (file, key) = (dir.join("saved"), dir.join("key"));
    let text = cluster.ctl(node, &["cluster", "snapshot", "key", "-q"]).ok();
    std::fs::write(&key, text).expect("write the key");
    let name = file.display().to_string();
    let said = cluster.ctl(node, &["cluster", "snapshot", "save", &name]).ok();
    assert!(said.contains("SWMSNAP-1-"), "{said}");
    (file, key)
}

#[test]
fn a_snapshot_becomes_a_cluster_on_an_empty_node_and_the_worker_finds_it() {
    let cluster = Cluster::with_busybox(1, 1);
    furnish(&cluster, 2);
    let (file, key) = saved(&cluster, "m1");
    let (name, key) = (file.display().to_string(), key.display().to_string());
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = cluster.ctl("m1", &["cluster", "snapshot", "save", &name]).refused();
    assert!(
        refused.contains("exists: choose another name, or replace it with --force"),
        "{refused}"
    );
    cluster.ctl("m1", &["config", "create", "later", "/etc/hostname"]).ok();
    let before = pids(&cluster, "s", &["w1"]);

    cluster.lab().kill("m1").expect("kill");
    let state = cluster.state_dir("m1");
    std::fs::remove_dir_all(state.join("cluster")).expect("its disk is gone");
    let (state, address) = (state.display().to_string(), cluster.address("m1"));
    let listen = format!("{address}:2377");
    let recover = ["cluster", "recover", "--from", &name, "--advertise-addr", &address];
    let here = ["--listen-addr", &listen, "--state-dir", &state, "--hostname", "m1"];
    let with = |rest: &[&str]| cluster.ctl("m1", &[&recover[..], &here[..], rest].concat());
    let plan = with(&["--key-file", &key, "--dry-run"]).ok();
    for word in
        ["Recover cluster", "index", "all that was changed after", "a new node", "1 secrets"]
    {
        assert!(plan.contains(word), "{word}: {plan}");
    }
    let refused = with(&["--key-file", &key]).stderr;
    assert!(refused.contains("give --yes"), "{refused}");
    assert!(!std::path::Path::new(&state).join("cluster").exists(), "nothing was made yet");
    with(&["--key-file", &key, "--yes"]).ok();
    cluster.lab().start("m1").expect("start");
    eventually("the worker is back", || {
        let seen = nodes(&cluster, "m1");
        let back = seen.contains(&"w1 Ready".to_owned());
        if back { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    furnished(&cluster, "m1");
    assert_eq!(pids(&cluster, "s", &["w1"]), before, "its container went on");
    let refused = with(&["--key-file", &key, "--yes"]).refused();
    assert!(refused.contains("a swarmd is running on"), "{refused}");
}

#[test]
fn a_snapshot_tells_what_it_holds_and_a_damaged_one_is_refused() {
    let cluster = Cluster::new(1, 0);
    cluster.ctl("m1", &["secret", "create", "s3", "/etc/hostname"]).ok();
    let (file, key) = saved(&cluster, "m1");
    let (name, key) = (file.display().to_string(), key.display().to_string());
    let inspect = ["cluster", "snapshot", "inspect"];
    let told = cluster.ctl("m1", &[&inspect[..], &["--key-file", &key, &name]].concat()).ok();
    for word in ["Snapshot of cluster", "index", "term", "1 secrets", "1 nodes", "m1 ("] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // The key from stdin, or as this node knows it.
    let text = std::fs::read_to_string(&key).expect("the key");
    fed(&cluster, "m1", &[&inspect[..], &[&name]].concat(), &text).ok();
    let state = cluster.state_dir("m1").display().to_string();
    let flags = ["--state-dir", &state, "--format", "json", &name];
    let json = cluster.ctl("m1", &[&inspect[..], &flags].concat()).ok();
    assert!(json.contains("\"secrets\":1"), "{json}");

    let fresh = cluster.ctl("m1", &["cluster", "snapshot", "key", "--rotate", "-q"]).ok();
    let refused = fed(&cluster, "m1", &[&inspect[..], &[&name]].concat(), &fresh).refused();
    assert!(refused.contains("was made under the key"), "{refused}");
    let refused = cluster.ctl("m1", &[&inspect[..], &[&name]].concat()).refused();
    assert!(refused.contains("the recovery key is needed"), "{refused}");
    let mut bytes = std::fs::read(&file).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("damage it");
    let flags = ["--key-file", &key, &name];
    let refused = cluster.ctl("m1", &[&inspect[..], &flags].concat()).refused();
    assert!(refused.contains("the snapshot is damaged"), "{refused}");
    let flags = ["--key-file", &key, "/etc/hostname"];
    let refused = cluster.ctl("m1", &[&inspect[..], &flags].concat()).refused();
    assert!(refused.contains("this is no snapshot of a swarm"), "{refused}");
}

#[test]
fn a_managers_folder_is_recovered_with_what_it_knew_and_the_old_one_is_kept() {
    let cluster = Cluster::with_busybox(3, 0);
    furnish(&cluster, 3);
    for node in ["m1", "m2", "m3"] {
        cluster.lab().kill(node).expect("kill");
    }
    let before = pids(&cluster, "s", &["m2"]);
    let (state, address) = (cluster.state_dir("m2").display().to_string(), cluster.address("m2"));
    let listen = format!("{address}:2377");
    let recover = ["cluster", "recover", "--from", &state, "--advertise-addr", &address];
    let here = ["--listen-addr", &listen, "--state-dir", &state, "--hostname", "m2"];
    let with = |rest: &[&str]| cluster.ctl("m2", &[&recover[..], &here[..], rest].concat());
    let plan = with(&["--dry-run"]).ok();
    for word in ["nothing of what this manager knew", "which it was before", "become workers"] {
        assert!(plan.contains(word), "{word}: {plan}");
    }
    let said = with(&["--yes"]).ok();
    assert!(said.contains("What was here is kept in"), "{said}");
    let kept = std::fs::read_dir(&state).expect("the folder").filter_map(|e| e.ok());
    let kept = kept.filter(|e| e.file_name().to_string_lossy().starts_with("cluster.before-"));
    assert_eq!(kept.count(), 1);
    cluster.lab().start("m2").expect("start");
    eventually("m2 leads", || match cluster.leader("m2") {
        Ok(leader) if leader == "m2" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    furnished(&cluster, "m2");
    cluster.lab().start("m1").expect("start");
    wait_nodes(&cluster, "m2", &["m1 Ready", "m2 Ready Leader", "m3 Down"]);
    assert_eq!(pids(&cluster, "s", &["m2"]), before, "its container went on");
}

#[test]
fn managers_keep_snapshots_by_themselves_up_to_a_number() {
    let cluster = Cluster::new(1, 0);
    let flags = ["update", "--auto-snapshot-interval", "1s", "--auto-snapshot-keep", "2"];
    assert_eq!(cluster.ctl("m1", &flags).ok(), "Swarm updated.");
    let listed = || cluster.ctl("m1", &["cluster", "snapshot", "ls", "-q"]).ok();
    let mut seen = BTreeSet::new();
    for n in 0..3 {
        cluster.ctl("m1", &["config", "create", &format!("c{n}"), "/etc/hostname"]).ok();
        eventually("another snapshot", || {
            let all: BTreeSet<String> = listed().lines().map(str::to_owned).collect();
            if all.is_subset(&seen) {
                return Err(format!("{all:?}"));
            }
            seen.extend(all);
            Ok(())
        });
    }
    assert_eq!(listed().lines().count(), 2, "the oldest is gone");
    let state = cluster.state_dir("m1").display().to_string();
    let inspect = ["cluster", "snapshot", "inspect", "--state-dir", &state];
    eventually("the newest holds everything", || {
        let newest = listed().lines().next().expect("one").to_owned();
        let told = cluster.ctl("m1", &[&inspect[..], &[&newest]].concat());
        if told.stdout.contains("3 configs") { Ok(()) } else { Err(format!("{told:?}")) }
    });
    let refused = cluster.ctl("m1", &["update", "--auto-snapshot-keep", "0"]).refused();
    assert!(refused.contains("between 1 and 1000, not 0"), "{refused}");
}

const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be used. Please \
     use \"swarmctl unlock\" to unlock it.";

/// The file with a node's lock keys; it changes with the unlock key.
fn lock(cluster: &Cluster, node: &str) -> String {
    let path = cluster.state_dir(node).join("cluster/lock.json");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the node's key file is locked, and not by the lock it was under `before`.
fn wait_locked(cluster: &Cluster, node: &str, before: &str) {
    let path = cluster.state_dir(node).join("cluster/certificates/swarm-node.pem");
    eventually(&format!("the keys of {node} are locked anew"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let now = lock(cluster, node);
        let settled = now != before && now.contains("\"unsettled\": false");
        let locked = text.contains("LOCKED KEY") && !text.contains("PRIVATE KEY");
        if settled && locked { Ok(()) } else { Err(now) }
    });
}

fn certificate_of(cluster: &Cluster, node: &str) -> String {
    let path = cluster.state_dir(node).join("cluster/certificates/swarm-node.pem");
    let text = std::fs::read_to_string(path).expect("the node's identity");
    text.lines().take_while(|line| !line.contains("END CERTIFICATE")).collect()
}

/// The keys that the node's store is sealed under, with their number before them.
fn data_keys(cluster: &Cluster, node: &str) -> Vec<u8> {
    std::fs::read(cluster.state_dir(node).join("cluster/store.key")).expect("keys of the store")
}

#[test]
fn stores_are_sealed_under_new_keys_while_all_goes_on() {
    let cluster = Cluster::with_busybox(3, 0);
    furnish(&cluster, 3);
    let hosts = ["m1", "m2", "m3"];
    let before = hosts.map(|node| data_keys(&cluster, node));
    cluster.ctl("m2", &["update", "--rotate-data-keys"]).ok();
    for (node, before) in hosts.iter().zip(&before) {
        eventually(&format!("{node} has a new key, and no other"), || {
            let now = data_keys(&cluster, node);
            let other = now.get(8..).is_some_and(|key| !before.ends_with(key));
            if now.len() == 40 && other { Ok(()) } else { Err(format!("{} bytes", now.len())) }
        });
    }
    let before = pids(&cluster, "s", &["m1"]);
    for node in hosts {
        restart(&cluster, node);
    }
    eventually("all serve what they had", || {
        let seen = nodes(&cluster, "m1");
        let all = seen.iter().filter(|n| n.contains(" Ready ")).count();
        if all == 3 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert!(cluster.ctl("m1", &["service", "ls"]).ok().contains(" s "));
    assert!(pids(&cluster, "s", &["m1"]).is_superset(&before), "its container went on");
}

fn restart(cluster: &Cluster, node: &str) {
    cluster.lab().stop(node).expect("stop");
    cluster.lab().start(node).expect("start");
    cluster.lab().wait_ready(node, Duration::from_secs(60)).expect("it answers");
}

/// Whoever has lost the key may still leave with that node.
fn leave_without_key(cluster: &Cluster, node: &str) {
    restart(cluster, node);
    let refused = cluster.ctl(node, &["leave"]).refused();
    assert!(refused.contains("To leave without the key, use `--force`"), "{refused}");
    let left = cluster.ctl(node, &["leave", "--force"]).ok();
    assert!(left.contains("Node left the swarm"), "{left}");
    assert!(cluster.ctl(node, &["info"]).ok().contains("Swarm: inactive"));
    assert!(!cluster.state_dir(node).join("cluster/store.key").exists());
}

#[test]
fn a_locked_manager_answers_with_what_to_do_until_it_gets_the_key() {
    let cluster = Cluster::with_busybox(3, 0);
    furnish(&cluster, 3);
    let refused = cluster.ctl("m1", &["unlock-key"]).refused();
    assert!(refused.contains("no unlock key is set"), "{refused}");
    let refused = cluster.ctl("m1", &["unlock-key", "--rotate"]).refused();
    assert!(refused.contains("cannot rotate because autolock is not turned on"), "{refused}");
    assert!(cluster.ctl("m1", &["unlock"]).refused().contains("swarm is not locked"));

    let certificate = certificate_of(&cluster, "m2");
    let said = cluster.ctl("m1", &["update", "--autolock"]).ok();
    let key = cluster.ctl("m2", &["unlock-key", "-q"]).ok();
    assert!(said.starts_with("Swarm updated.") && said.contains(&key), "{said}");
    assert!(key.starts_with("SWMKEY-1-"), "{key}");
    for node in ["m1", "m2", "m3"] {
        wait_locked(&cluster, node, "");
    }
    eventually("m2 has another key than that which lay on its disk in the clear", || {
        let now = certificate_of(&cluster, "m2");
        (now != certificate).then_some(()).ok_or(now)
    });
    let before = pids(&cluster, "s", &["m2"]);
    restart(&cluster, "m2");
    assert!(cluster.ctl("m2", &["info"]).ok().contains("Swarm: locked"));
    for call in [&["node", "ls"][..], &["service", "ls"], &["unlock-key"], &["leave"], &["init"]] {
        let refused = cluster.ctl("m2", call).refused();
        assert!(refused.contains(LOCKED), "{call:?}: {refused}");
    }
    assert_eq!(pids(&cluster, "s", &["m2"]), before, "its container goes on");
    let other = format!("SWMKEY-1-{}", "A".repeat(43));
    for wrong in [other.as_str(), "nonsense", ""] {
        let refused = fed(&cluster, "m2", &["unlock"], wrong).refused();
        assert!(refused.contains("swarm could not be unlocked: invalid key provided"), "{refused}");
    }
    fed(&cluster, "m2", &["unlock"], &key).ok();
    eventually("m2 is a manager again", || {
        let seen = nodes(&cluster, "m2");
        let all = seen.iter().filter(|n| n.contains(" Ready ")).count();
        if all == 3 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(pids(&cluster, "s", &["m2"]), before);

    // A new key ends the old one on every manager.
    let locks = ["m1", "m2", "m3"].map(|node| lock(&cluster, node));
    let fresh = cluster.ctl("m3", &["unlock-key", "--rotate", "-q"]).ok();
    for (node, before) in ["m1", "m2", "m3"].iter().zip(&locks) {
        wait_locked(&cluster, node, before);
    }
    restart(&cluster, "m3");
    let refused = fed(&cluster, "m3", &["unlock"], &key).refused();
    assert!(refused.contains("invalid key provided"), "{refused}");
    fed(&cluster, "m3", &["unlock"], &fresh).ok();
    leave_without_key(&cluster, "m2");

    // Without autolock a manager starts by itself.
    eventually("autolock is turned off", || {
        let updated = cluster.ctl("m1", &["update", "--autolock=false"]);
        if updated.code == Some(0) { Ok(()) } else { Err(updated.stderr) }
    });
    eventually("the keys of m1 are open", || {
        let now = lock(&cluster, "m1");
        if now.contains("\"keys\": []") { Ok(()) } else { Err(now) }
    });
    restart(&cluster, "m1");
    eventually("m1 serves", || match nodes(&cluster, "m1") {
        seen if seen.len() == 3 => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

#[test]
fn a_cluster_begins_locked_if_asked_and_a_demoted_manager_holds_no_key() {
    let cluster = Cluster::apart(3);
    let said = cluster.ctl("m1", &["init", "--autolock"]).ok();
    let key = cluster.ctl("m1", &["unlock-key", "-q"]).ok();
    assert!(said.contains(&format!("    {key}\n")), "{said}");
    wait_locked(&cluster, "m1", "");
    let token = cluster.ctl("m1", &["join-token", "-q", "manager"]).ok();
    for node in ["m2", "m3"] {
        cluster.ctl(node, &["join", "--token", &token, &cluster.address("m1")]).ok();
        wait_locked(&cluster, node, "");
    }
    cluster.ctl("m1", &["node", "demote", "m3"]).ok();
    eventually("m3 is a worker without keys", || {
        let files = ["store.key", "recovery.key", "raft"];
        let left: Vec<&str> = files
            .into_iter()
            .filter(|name| cluster.state_dir("m3").join("cluster").join(name).exists())
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    restart(&cluster, "m3");
    eventually("m3 is back without being asked for a key", || {
        let info = cluster.ctl("m3", &["info"]);
        if info.stdout.contains("Swarm: active") { Ok(()) } else { Err(format!("{info:?}")) }
    });
}
