//! Services: made, shown, changed and removed; and why a task does not run.

use std::time::Duration;

use support::{Cluster, eventually, eventually_within};

/// CPUs, memory and processes that the container in question may use, as its cgroup has them.
const LIMITS: &str = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max \
                      2>/dev/null || cat memory.max pids.max";

#[test]
fn create_shows_progress_and_returns_when_all_tasks_run() {
    let cluster = Cluster::with_busybox(1, 1);
    let line = "swarmctl service create --update-monitor 500ms --name web --replicas 3 \
                --stop-signal KILL busybox sleep 1000";
    let shown = cluster.shell("m1", line).ok();
    assert_eq!(cluster.running("m1", "web").len(), 3);
    let id = shown.lines().next().unwrap().to_owned();
    assert!(shown.contains("overall progress: 3 out of 3 tasks"), "{shown}");
    assert!(shown.ends_with(&format!("verify: Service {id} converged")), "{shown}");
    let listed = cluster.shell("m1", "swarmctl service ls").ok();
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, [&id[..12], "web", "replicated", "3/3", "busybox:latest"]);
    let quiet =
        "swarmctl service create -q --update-monitor 1ms --name silent --replicas 0 busybox";
    assert_eq!(cluster.shell("m1", quiet).ok().lines().count(), 1);
}

#[test]
fn a_container_is_what_the_service_says() {
    let cluster = Cluster::with_busybox(1, 0);
    let flags = "--env COLOUR=blue --env 'TASK={{.Task.Name}}' --workdir /tmp --user 65534:65534 \
                 --hostname 'h-{{.Task.Slot}}' --limit-memory 32M --limit-pids 50 --limit-cpu 0.5 \
                 --mount type=volume,source=data,target=/data --mount type=tmpfs,target=/scratch \
                 --mount type=bind,source=/etc/hostname,target=/etc/node,readonly \
                 --host db:10.9.9.9 --label tier=front --container-label kind=test";
    cluster.sleepers("it", flags);
    cluster.wait_running("m1", "it", 1);
    let container = cluster.container("it", "m1");
    let environment = "tr '\\0' '\\n' </proc/1/environ; tr '\\0' ' ' </proc/1/cmdline";
    let environment = container.run(environment).ok();
    assert!(environment.contains("COLOUR=blue"), "{environment}");
    assert!(environment.contains(&format!("TASK={}", container.task)), "{environment}");
    assert!(environment.ends_with("sleep 1000"), "{environment}");
    let around = container.run("pwd; stat -c %u:%g /proc/1; hostname; cat /etc/node").ok();
    assert_eq!(around, "/tmp\n65534:65534\nh-1\nm1");
    assert_eq!(container.run(LIMITS).ok(), format!("{}\n50", 32 << 20));
    let mounts = container.run("cat /proc/mounts").ok();
    assert!(mounts.contains("tmpfs /scratch tmpfs"), "{mounts}");
    assert!(mounts.contains(" /data "), "{mounts}");
    assert!(container.run("cat /etc/hosts").ok().contains("10.9.9.9\tdb"));
    let format = "{{.Spec.Labels.tier}} {{.Spec.TaskTemplate.ContainerSpec.Labels.kind}}";
    let line = format!("swarmctl service inspect --format '{format}' it");
    assert_eq!(cluster.shell("m1", &line).ok(), "front test");
    assert_eq!(cluster.shell("m1", "swarmctl volume ls -q").ok(), "data");
}

#[test]
fn a_global_service_runs_on_every_node_that_meets_its_constraints() {
    let cluster = Cluster::with_busybox(1, 2);
    cluster.sleepers("all", "--mode global");
    cluster.sleepers("some", "--mode global --constraint node.role==worker");
    cluster.sleepers("labelled", "--mode global --constraint node.labels.disk==ssd");
    cluster.wait_running("m1", "all", 3);
    cluster.wait_running("m1", "some", 2);
    assert_eq!(cluster.hosts_of("m1", "some"), ["w1", "w2"]);
    cluster.shell("m1", "swarmctl node update --label-add disk=ssd w2").ok();
    cluster.wait_running("m1", "labelled", 1);
    assert_eq!(cluster.hosts_of("m1", "labelled"), ["w2"]);
    let listed = "swarmctl service ls --format '{{.Name}} {{.Mode}} {{.Replicas}}'";
    let listed = cluster.shell("m1", listed).ok();
    assert_eq!(listed, "all global 3/3\nlabelled global 1/1\nsome global 2/2");
    let refused = cluster.shell("m1", "swarmctl service scale all=5").refused();
    assert!(refused.contains("scale can only be used with replicated mode"), "{refused}");
}

#[test]
fn a_service_is_scaled_up_and_down_and_removed_with_all_its_containers() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.sleepers("web", "--replicas 2 --update-monitor 1ms");
    cluster.wait_running("m1", "web", 2);
    let before = cluster.running("m1", "web");
    cluster.shell("m1", "swarmctl service scale web=5").ok();
    let after = cluster.running("m1", "web");
    assert_eq!(after.len(), 5);
    assert!(before.iter().all(|task| after.contains(task)), "{before:?} {after:?}");
    assert_eq!(cluster.containers_of("web").len(), 5);
    cluster.shell("m1", "swarmctl service update --replicas 1 web").ok();
    eventually("the containers of four tasks are gone", || {
        let left = cluster.shims();
        if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(cluster.running("m1", "web").len(), 1);
    assert_eq!(cluster.shell("m1", "swarmctl service rm web").ok(), "web");
    assert_eq!(cluster.shell("m1", "swarmctl service ls -q").ok(), "");
    eventually("no container is left", || {
        let left = (cluster.shims(), cluster.containers_of("web"));
        if left.0.is_empty() && left.1.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let refused = cluster.shell("m1", "swarmctl service ps web").refused();
    assert!(refused.contains("no such service: web"), "{refused}");
}

#[test]
fn each_update_replaces_the_tasks_that_it_concerns_and_a_rollback_brings_the_former_spec_back() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster.sleepers("web", "--env A=1 --replicas 2 --update-monitor 1ms --rollback-monitor 1ms");
    cluster.wait_running("m1", "web", 2);
    let tasks = || -> Vec<String> {
        cluster.containers_of("web").into_iter().map(|container| container.task).collect()
    };
    let has = |variable: &str| {
        let environment = cluster.containers_of("web")[0].run("tr '\\0' '\\n' </proc/1/environ");
        environment.ok().lines().any(|line| line == variable)
    };
    let first = tasks();
    cluster.shell("m1", "swarmctl service update --env-add B=2 web").ok();
    let second = tasks();
    assert!(first.iter().all(|task| !second.contains(task)), "{first:?} {second:?}");
    assert!(has("A=1") && has("B=2"));
    cluster.shell("m1", "swarmctl service update --label-add only=metadata web").ok();
    assert_eq!(tasks(), second, "a label of the service concerns no task");
    cluster.shell("m1", "swarmctl service update --force web").ok();
    let third = tasks();
    assert!(second.iter().all(|task| !third.contains(task)), "{second:?} {third:?}");
    cluster.shell("m1", "swarmctl image tag busybox busybox:next").ok();
    cluster.shell("m1", "swarmctl service update --image busybox:next --env-rm B web").ok();
    assert!(has("A=1") && !has("B=2"));
    let image = "swarmctl service ls --format '{{.Image}}'";
    assert_eq!(cluster.shell("m1", image).ok(), "busybox:next");
    cluster.shell("m1", "swarmctl service rollback web").ok();
    assert_eq!(cluster.shell("m1", image).ok(), "busybox:latest");
    assert!(has("A=1") && has("B=2"));
}

#[test]
fn logs_of_tasks_on_any_node_are_read_from_any_manager() {
    let cluster = Cluster::with_busybox(2, 1);
    let talk = "swarmctl service create -d --mode global --stop-signal KILL --name talk busybox \
                sh -c 'echo out of $HOSTNAME; echo err >&2; exec sleep 1000' ";
    cluster.shell("m1", &talk.replace("$HOSTNAME", "'$(hostname)'")).ok();
    cluster.wait_running("m1", "talk", 3);
    let log = eventually("all three tasks have written", || {
        let log = cluster.shell("m2", "swarmctl service logs talk");
        let whole = log.stdout.lines().count() == 3 && log.stderr.lines().count() == 3;
        if whole { Ok(log) } else { Err(format!("{log:?}")) }
    });
    for node in ["m1", "m2", "w1"] {
        let mut lines = log.stdout.lines();
        let line = lines.find(|l| l.contains(&format!("@{node}"))).expect(node);
        assert!(line.starts_with("talk."), "{line}");
        assert!(line.contains("| out of "), "{line}");
    }
    let last = cluster.shell("m1", "swarmctl service logs --raw --tail 1 talk");
    assert_eq!((last.stdout.lines().count() + last.stderr.lines().count()), 3, "{last:?}");
    let task = "swarmctl service logs --raw $(swarmctl service ps -q --filter node=w1 talk)";
    assert_eq!(cluster.shell("m2", task).ok().lines().count(), 1);
}

#[test]
fn logs_are_followed_until_the_reader_leaves() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster
        .shell(
            "m1",
            "swarmctl service create -d --stop-signal KILL --name tick busybox \
             sh -c 'n=0; while sleep 0.2; do n=$((n+1)); echo tick $n; done'",
        )
        .ok();
    cluster.wait_running("m1", "tick", 1);
    let followed = cluster.shell("m1", "swarmctl service logs --raw -f tick | head -n 5").ok();
    assert_eq!(followed, "tick 1\ntick 2\ntick 3\ntick 4\ntick 5");
}

#[test]
fn a_task_that_no_node_can_take_says_why() {
    let cluster = Cluster::with_busybox(1, 1);
    let cases = [
        ("far", "--constraint node.labels.zone==far", "scheduling constraints not satisfied"),
        ("big", "--reserve-memory 1000G", "insufficient resources on 2 nodes"),
        ("cores", "--reserve-cpu 5000", "insufficient resources on 2 nodes"),
    ];
    for (name, flags, why) in cases {
        cluster.sleepers(name, flags);
        let task = cluster.wait_error("m1", name, "no suitable node (");
        assert!(task.error.contains(why), "{task:?}");
        assert_eq!((task.node.as_str(), task.state.as_str()), ("", "Pending"));
    }
    cluster.sleepers("port", "--replicas 3 --publish mode=host,published=7070,target=80");
    cluster.wait_running("m1", "port", 2);
    let task = cluster.wait_error("m1", "port", "no suitable node (");
    assert!(task.error.contains("host-mode port already in use on 2 nodes"), "{task:?}");
    cluster.shell("m1", "swarmctl node update --label-add zone=far w1").ok();
    cluster.wait_running("m1", "far", 1);
}

#[test]
fn a_task_whose_image_nobody_has_says_so_and_is_not_tried_again_and_again() {
    let cluster = Cluster::with_busybox(1, 0);
    let line = "swarmctl service create -d -q --name ghost --restart-delay 10m no.such/image:1";
    cluster.shell("m1", line).ok();
    let task = cluster.wait_error("m1", "ghost", "no.such/image:1");
    assert_eq!(task.state, "Rejected");
    // The second one is prepared at once; the third only after the delay.
    eventually("the replacement was tried", || {
        let tasks = cluster.tasks("m1", "ghost");
        let tried = tasks.iter().filter(|t| t.state == "Rejected").count();
        if tried == 2 { Ok(()) } else { Err(format!("{tasks:#?}")) }
    });
    assert_eq!(cluster.tasks("m1", "ghost").len(), 2);
}

#[test]
fn create_ends_with_the_reason_when_a_task_failed_for_good() {
    let cluster = Cluster::with_busybox(1, 0);
    let line = "swarmctl service create --name once --restart-condition none busybox \
                sh -c 'exit 3'";
    let failed = cluster.shell("m1", line);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let reason = "once.1: failed: task: non-zero exit (3) (the restart condition is none)";
    assert!(failed.stderr.contains(reason), "{failed:?}");
    let line = "swarmctl service create --name twice --restart-max-attempts 1 \
                --restart-delay 10ms busybox nosuchprogram";
    let failed = cluster.shell("m1", line);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("nosuchprogram"), "{failed:?}");
    assert!(failed.stderr.contains("no restart after 1 attempts"), "{failed:?}");
}

#[test]
fn a_task_that_ends_is_replaced_as_its_restart_policy_says() {
    let cluster = Cluster::with_busybox(1, 0);
    let create = |name: &str, flags: &str, command: &str| {
        let line = format!("swarmctl service create -d --name {name} {flags} busybox {command}");
        cluster.shell("m1", &line).ok();
    };
    create("done", "--restart-condition on-failure --restart-delay 10ms", "true");
    create("crash", "--restart-condition any --restart-delay 10ms", "sh -c 'exit 7'");
    eventually_within(Duration::from_secs(30), "crash was restarted twice", || {
        let tasks = cluster.tasks("m1", "crash");
        let failed = tasks.iter().filter(|t| t.error == "task: non-zero exit (7)").count();
        if failed >= 2 { Ok(()) } else { Err(format!("{tasks:#?}")) }
    });
    assert!(cluster.tasks("m1", "crash").iter().all(|t| t.name == "crash.1"));
    cluster.wait_state("m1", "done", "Complete");
    assert_eq!(cluster.tasks("m1", "done").len(), 1, "success needs no restart");
}
