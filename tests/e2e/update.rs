//! Rolling updates: order, pace, and what happens when the new tasks fail.

use support::{Cluster, eventually};

/// Writes when a task of version `$V` starts and stops to a volume that all of them share.
const JOURNAL: &str = "--mount type=volume,source=journal,target=/j busybox sh -c \
    'echo start $V >>/j/log; trap \"echo stop $V >>/j/log; exit 0\" TERM; \
     while :; do sleep 0.05; done'";

fn journal(cluster: &Cluster) -> Vec<String> {
    let container = &cluster.containers_of("web")[0];
    container.run("cat /j/log").ok().lines().map(str::to_owned).collect()
}

fn create(cluster: &Cluster, flags: &str) {
    let line = format!(
        "swarmctl service create -d --name web --env V=old --update-monitor 10ms \
         --rollback-monitor 10ms {flags} {JOURNAL}"
    );
    cluster.shell("m1", &line).ok();
}

/// Makes the service anew such that each new task ends with an error.
const BREAK: &str = "swarmctl service update --args 'sh -c \"exit 1\"' web";

#[test]
fn stop_first_ends_the_old_task_before_the_new_one_starts() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--update-order stop-first");
    cluster.wait_running("m1", "web", 1);
    cluster.shell("m1", "swarmctl service update --env-add V=new web").ok();
    assert_eq!(journal(&cluster), ["start old", "stop old", "start new"]);
}

#[test]
fn start_first_starts_the_new_task_before_the_old_one_ends() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--update-order start-first");
    cluster.wait_running("m1", "web", 1);
    cluster.shell("m1", "swarmctl service update --env-add V=new web").ok();
    let log = eventually("the old task has stopped", || {
        let log = journal(&cluster);
        if log.len() == 3 { Ok(log) } else { Err(format!("{log:?}")) }
    });
    assert_eq!(log, ["start old", "start new", "stop old"]);
}

#[test]
fn an_update_takes_no_more_tasks_at_once_than_its_parallelism() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--replicas 6 --update-parallelism 2 --update-order stop-first");
    cluster.wait_running("m1", "web", 6);
    cluster.shell("m1", "swarmctl service update --env-add V=new web").ok();
    let log = journal(&cluster);
    let (mut running, mut fewest) = (6, 6);
    for line in log.iter().skip_while(|line| !line.starts_with("stop")) {
        running += if line.starts_with("start") { 1 } else { -1 };
        fewest = fewest.min(running);
    }
    assert_eq!(running, 6, "{log:?}");
    assert_eq!(fewest, 4, "two at once, not one, not three: {log:?}");
}

#[test]
fn an_update_whose_tasks_fail_pauses_and_leaves_the_other_tasks_alone() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--replicas 4 --update-failure-action pause");
    cluster.wait_running("m1", "web", 4);
    let failed = cluster.shell("m1", &BREAK.replace("update ", "update --update-monitor 5s "));
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("service update paused"), "{failed:?}");
    assert!(failed.stderr.contains("task: non-zero exit (1)"), "{failed:?}");
    assert_eq!(cluster.running("m1", "web").len(), 3);
    let state = "swarmctl service inspect --format '{{.UpdateStatus.State}}' web";
    assert_eq!(cluster.shell("m1", state).ok(), "paused");
    // What mends it goes through.
    cluster.shell("m1", "swarmctl service rollback web").ok();
    assert_eq!(cluster.running("m1", "web").len(), 4);
    assert!(journal(&cluster).iter().all(|line| line.ends_with("old")));
}

#[test]
fn an_update_whose_tasks_fail_goes_back_where_the_service_asks_for_that() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--replicas 3 --update-failure-action rollback");
    cluster.wait_running("m1", "web", 3);
    let failed = cluster.shell("m1", &BREAK.replace("update ", "update --update-monitor 5s "));
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let why = "service rolled back: update rolled back due to failure";
    assert!(failed.stderr.contains(why), "{failed:?}");
    cluster.wait_running("m1", "web", 3);
    let state = "swarmctl service inspect --format '{{.UpdateStatus.State}}' web";
    assert_eq!(cluster.shell("m1", state).ok(), "rollback_completed");
    let args = "swarmctl service inspect --format '{{json .Spec.TaskTemplate.ContainerSpec.Args}}'";
    let args = cluster.shell("m1", &format!("{args} web")).ok();
    assert!(!args.contains("exit 1"), "{args}");
}

#[test]
fn an_update_that_cannot_fail_too_often_goes_on() {
    let cluster = Cluster::with_busybox(1, 0);
    create(&cluster, "--replicas 2 --update-failure-action continue --restart-delay 10ms");
    cluster.wait_running("m1", "web", 2);
    // Fails the first time in each slot: the volume remembers.
    let flaky = "swarmctl service update --update-monitor 500ms --env-add V=new --args \
        'sh -c \"mkdir /j/$(hostname | cut -c1) && exit 1; exec sleep 1000\"' \
        --hostname '{{.Task.Slot}}' --stop-signal KILL web";
    cluster.shell("m1", flaky).ok();
    assert_eq!(cluster.running("m1", "web").len(), 2);
    let tasks = cluster.tasks("m1", "web");
    let failed = tasks.iter().filter(|t| t.error == "task: non-zero exit (1)").count();
    assert_eq!(failed, 2, "{tasks:#?}");
}
