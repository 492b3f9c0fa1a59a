//! `service logs`: from any manager, for tasks on any node.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use support::Cluster;

/// For a line that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends a following command also when the test fails.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn logs_come_from_every_node_with_tail_and_timestamps_and_can_be_followed() {
    let cluster = Cluster::with_busybox(2, 1);
    let dir = tempfile::tempdir().expect("a folder");
    let mount = format!("type=bind,source={},target=/flag", dir.path().display());
    let script = "for i in 1 2 3; do echo $(hostname) line $i; done; echo oops >&2; \
         while [ ! -e /flag/go ]; do usleep 20000; done; echo more; exec sleep 1000";
    let flags = ["--name", "s", "--mode", "global", "--hostname", "on-{{.Node.Hostname}}"];
    let mount = ["--mount", mount.as_str()];
    let command = ["busybox", "sh", "-c", script];
    cluster.create("m1", &[&flags[..], &mount[..], &command[..]].concat());
    cluster.wait_running("m1", "s", 3);
    for node in ["m1", "m2", "w1"] {
        for manager in ["m1", "m2"] {
            cluster.wait_logged(manager, "s", &format!("@{node}    | on-{node} line 3"));
        }
    }
    let logs = cluster.ctl("m2", &["service", "logs", "s"]);
    assert_eq!(logs.stdout.matches(" line ").count(), 9, "{logs:#?}");
    assert_eq!(logs.stderr.matches("oops").count(), 3, "{logs:#?}");
    let last = cluster.ctl("m2", &["service", "logs", "--raw", "--tail", "2", "s"]);
    let both = format!("{}{}", last.stdout, last.stderr);
    assert_eq!(both.lines().count(), 6, "two lines of each of three tasks: {last:#?}");
    let stamped = cluster.ctl("m1", &["service", "logs", "--raw", "-t", "--tail", "2", "s"]).ok();
    let zoned = |line: &str| line.starts_with("20") && line.contains("Z on-");
    assert!(stamped.lines().all(zoned), "{stamped}");

    // What is on stdout from the last line on: the line before it is on stderr.
    let mut follow = cluster.ctl_command("m2", &["service", "logs", "-f", "--tail", "1", "s"]);
    let child = follow.stdout(Stdio::piped()).spawn().expect("swarmctl starts");
    let mut child = Following(child);
    std::fs::write(dir.path().join("go"), "").expect("writable");
    let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let (heard, hear) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| heard.send(line)));
    for _ in 0..3 {
        let line = hear.recv_timeout(PATIENCE).expect("a line of each task");
        assert!(line.ends_with("| more"), "{line}");
    }
}
