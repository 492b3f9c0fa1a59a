//! Containers as tasks: they outlive the daemon, keep their limits, end as asked and say how they ended.

use std::collections::BTreeMap;
use std::path::Path;

use support::{Cluster, eventually};

/// What tells a task that it may go on: a file that the test makes in a folder that the task sees.
fn flag_folder() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let mount = format!("type=bind,source={},target=/flag", dir.path().display());
    (dir, mount)
}

fn raise(dir: &Path, name: &str) {
    std::fs::write(dir.join(name), "").expect("the folder is writable");
}

/// What a service wrote, bare.
fn raw_log(cluster: &Cluster, service: &str) -> String {
    cluster.ctl("m1", &["service", "logs", "--raw", service]).stdout
}

#[test]
fn containers_go_on_without_the_daemon_and_it_learns_later_what_they_did() {
    let cluster = Cluster::with_busybox(1, 0);
    let (dir, mount) = flag_folder();
    let count = "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done";
    cluster.create("m1", &["--name", "steady", "busybox", "sh", "-c", count]);
    let wait = "while [ ! -e /flag/go ]; do usleep 20000; done; echo bye; exit 3";
    let once = ["--name", "brief", "--restart-condition", "none", "--mount", &mount];
    cluster.create("m1", &[&once[..], &["busybox", "sh", "-c", wait]].concat());
    cluster.wait_running("m1", "steady", 1);
    cluster.wait_running("m1", "brief", 1);
    let before = cluster.containers();
    assert_eq!(before.len(), 2);

    cluster.lab().kill("m1").expect("kill");
    raise(dir.path(), "go");
    eventually("the brief one ends", || {
        let left = cluster.containers();
        if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    cluster.lab().start("m1").expect("start");
    let ended = cluster.wait_state("m1", "brief", "Failed");
    assert_eq!(ended.error, "task: non-zero exit (3)");
    assert_eq!(raw_log(&cluster, "brief"), "bye\n");

    cluster.wait_running("m1", "steady", 1);
    assert_eq!(cluster.tasks("m1", "steady").len(), 1, "it was not restarted");
    assert!(cluster.containers().is_subset(&before) && cluster.containers().len() == 1);
    let so_far = raw_log(&cluster, "steady").lines().count();
    let log = eventually("the log goes on", || {
        let log = raw_log(&cluster, "steady");
        if log.lines().count() > so_far { Ok(log) } else { Err(log) }
    });
    let numbers: Vec<usize> = log.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "no line is lost or doubled");
}

#[test]
fn a_task_that_ends_or_cannot_start_says_how() {
    let cluster = Cluster::with_busybox(1, 0);
    let cases: [(&str, &[&str], &[&str], &str); 8] = [
        ("code", &[], &["sh", "-c", "exit 7"], "task: non-zero exit (7)"),
        (
            "memory",
            &["--limit-memory", "16M"],
            &["sh", "-c", "x=$(tr '\\0' a </dev/zero | head -c 99000000); echo $x | wc -c"],
            "task: non-zero exit (137): out of memory",
        ),
        ("signal", &["--init"], &["sh", "-c", "kill -9 $$"], "task: non-zero exit (137)"),
        ("program", &[], &["/nonexistent"], "no such file or directory: \"/nonexistent\""),
        (
            "source",
            &["--mount", "type=bind,source=/no/such,target=/x"],
            &["true"],
            "bind source path does not exist: /no/such",
        ),
        ("user", &["--user", "nobodyhere"], &["true"], "unable to find user nobodyhere"),
        (
            "pids",
            &["--limit-pids", "4"],
            &["sh", "-c", "true & true & true & true & true & true & true & wait && exit 2"],
            "task: non-zero exit (2)",
        ),
        (
            "folder",
            &["--mount", "type=tmpfs,target=/t,tmpfs-size=64k"],
            &["sh", "-c", "head -c 200000 /dev/zero >/t/x || exit 5"],
            "task: non-zero exit (5)",
        ),
    ];
    for (name, flags, command, _) in &cases {
        let fixed = ["--name", name, "--restart-condition", "none"];
        cluster.create("m1", &[&fixed, *flags, &["busybox"], *command].concat());
    }
    for (name, _, _, reason) in &cases {
        let ended = cluster.wait_error("m1", name, reason);
        assert!(["Failed", "Rejected"].contains(&ended.state.as_str()), "{ended:?}");
    }
    let log = raw_log(&cluster, "pids") + &cluster.ctl("m1", &["service", "logs", "pids"]).stderr;
    assert!(log.contains("can't fork"), "{log}");
    cluster.create("m1", &["--name", "good", "--restart-condition", "none", "busybox", "true"]);
    assert_eq!(cluster.wait_state("m1", "good", "Complete").error, "");
}

/// Where a controller of a process's cgroup keeps `file`, on v1 and v2.
fn cgroup_value(pid: u32, controller: &str, v1: &str, v2: &str) -> String {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    let root = Path::new("/sys/fs/cgroup");
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        let file = match names {
            "" => root.join(path).join(v2),
            names if names.split(',').any(|n| n == controller) => {
                root.join(controller).join(path).join(v1)
            }
            _ => continue,
        };
        if let Ok(text) = std::fs::read_to_string(file) {
            return text.trim().to_owned();
        }
    }
    panic!("no {controller} cgroup of {pid}: {groups}")
}

#[test]
fn limits_are_set_in_the_kernel() {
    let cluster = Cluster::with_busybox(1, 0);
    let limits = ["--limit-cpu", "0.5", "--limit-memory", "32M", "--limit-pids", "20"];
    cluster.create("m1", &[&limits[..], &["--name", "s", "busybox", "sleep", "1000"]].concat());
    cluster.wait_running("m1", "s", 1);
    let pid = *cluster.containers().first().expect("one container");
    let cpu = cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(cpu == "50000" || cpu == "50000 100000", "{cpu}");
    assert_eq!(cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(cgroup_value(pid, "pids", "pids.max", "pids.max"), "20");
}

#[test]
fn a_stopped_task_gets_its_signal_and_is_killed_after_its_grace_period() {
    let cluster = Cluster::with_busybox(1, 0);
    let (dir, mount) = flag_folder();
    let polite = "trap 'echo asked >/flag/polite; exit 0' USR1; while :; do usleep 20000; done";
    let deaf = "trap '' TERM; while :; do usleep 20000; done";
    let create = ["service", "create", "-d", "-q", "--mount", &mount, "--name"];
    let own: [&[&str]; 2] = [
        &["polite", "--stop-signal", "USR1", "busybox", "sh", "-c", polite],
        &["deaf", "--stop-grace-period", "700ms", "busybox", "sh", "-c", deaf],
    ];
    for flags in own {
        cluster.ctl("m1", &[&create, flags].concat()).ok();
    }
    cluster.wait_running("m1", "polite", 1);
    cluster.wait_running("m1", "deaf", 1);
    cluster.ctl("m1", &["service", "rm", "polite", "deaf"]).ok();
    eventually("both are gone", || {
        let left = cluster.containers();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let asked = std::fs::read_to_string(dir.path().join("polite")).expect("it was asked");
    assert_eq!(asked, "asked\n");
}

#[test]
fn ended_tasks_are_replaced_as_the_restart_policy_says() {
    let cluster = Cluster::with_busybox(1, 0);
    let cases = [
        ("none", "none", "exit 1", 1),
        ("content", "on-failure", "exit 0", 1),
        ("failing", "on-failure", "exit 1", 3),
        ("any", "any", "exit 0", 3),
    ];
    for (name, condition, script, _) in cases {
        let policy = ["--restart-condition", condition, "--restart-delay", "50ms"];
        let most = ["--restart-max-attempts", "2", "--name", name];
        let command = ["busybox", "sh", "-c", script];
        cluster.create("m1", &[&policy[..], &most[..], &command[..]].concat());
    }
    for (name, _, _, runs) in cases {
        eventually(&format!("{name} ran {runs} times"), || {
            let tasks = cluster.tasks("m1", name);
            let ended = tasks.iter().filter(|t| ["Failed", "Complete"].contains(&&*t.state));
            if ended.count() >= runs { Ok(()) } else { Err(format!("{tasks:#?}")) }
        });
    }
    // The services whose policy lets them go on have done so meanwhile; the others have not.
    for (name, _, _, runs) in cases {
        assert_eq!(cluster.tasks("m1", name).len(), runs, "{name}");
    }
}

#[test]
fn a_container_is_what_its_spec_says() {
    let cluster = Cluster::with_busybox(1, 0);
    let (dir, bind) = flag_folder();
    std::fs::write(dir.path().join("given"), "from the host\n").expect("writable");
    let script = "echo user=$(id -u):$(id -g) groups=$(id -G); echo env=$A,$NODE; echo dir=$PWD; \
         echo host=$(hostname); touch /x 2>/dev/null && echo root=writable; \
         touch /flag/x 2>/dev/null && echo bind=writable; cat /flag/given; \
         touch /t/x /v/x && echo mounts=writable; \
         grep -q ' /t tmpfs ' /proc/mounts && echo tmpfs; echo end; exec sleep 1000";
    let flags = [
        "--name",
        "s",
        "--user",
        "1000:1001",
        "--env",
        "A=b c",
        "--env",
        "NODE={{.Node.Hostname}}",
        "--workdir",
        "/usr/bin",
        "--hostname",
        "{{.Service.Name}}-{{.Task.Slot}}",
        "--read-only",
        "--mount",
        &format!("{bind},readonly"),
        "--mount",
        "type=tmpfs,target=/t,tmpfs-mode=1777",
        "--mount",
        "type=volume,source=data,target=/v",
    ];
    cluster.create("m1", &[&flags[..], &["busybox", "sh", "-c", script]].concat());
    let log = cluster.wait_logged("m1", "s", "end");
    let lines: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("| ")).map(|(_, text)| text).collect();
    assert!(lines.len() > 5, "{log}");
    let seen: BTreeMap<&str, &str> = lines.iter().filter_map(|l| l.split_once('=')).collect();
    assert_eq!(seen["user"], "1000:1001 groups=1001", "{log}");
    assert_eq!(seen["env"], "b c,m1", "{log}");
    assert_eq!((seen["dir"], seen["host"]), ("/usr/bin", "s-1"), "{log}");
    assert!(!seen.contains_key("root") && !seen.contains_key("bind"), "{log}");
    assert!(lines.contains(&"from the host") && lines.contains(&"tmpfs"), "{log}");
    let volumes = cluster.ctl("m1", &["volume", "ls", "--format", "{{.Name}}"]).ok();
    assert_eq!(volumes, "data");
}

#[test]
fn a_task_runs_when_its_health_check_says_so_and_fails_when_it_no_longer_does() {
    let cluster = Cluster::with_busybox(1, 0);
    let (dir, mount) = flag_folder();
    let health = [
        "--health-cmd",
        "test -e /flag/ok",
        "--health-interval",
        "50ms",
        "--health-retries",
        "2",
        "--health-start-period",
        "60s",
        "--health-start-interval",
        "50ms",
    ];
    let policy = ["--name", "s", "--mount", &mount, "--restart-condition", "none"];
    let command = ["busybox", "sleep", "1000"];
    cluster.create("m1", &[&health[..], &policy[..], &command[..]].concat());
    cluster.wait_state("m1", "s", "Starting");
    eventually("its container is there", || match cluster.containers().len() {
        1 => Ok(()),
        n => Err(format!("{n} containers")),
    });
    assert_eq!(cluster.tasks("m1", "s")[0].state, "Starting", "it is not healthy yet");
    raise(dir.path(), "ok");
    cluster.wait_running("m1", "s", 1);
    std::fs::remove_file(dir.path().join("ok")).expect("it is there");
    let ended = cluster.wait_error("m1", "s", "unhealthy");
    assert_eq!(ended.state, "Failed");
}
