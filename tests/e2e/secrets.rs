//! Secrets and configs: where they are, and where they must never be.

use std::process::Command;

use support::{Cluster, Outcome};

const SECRET: &str = "correct-horse-battery-staple-4711";
const CONFIG: &str = "colour=blue";

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("data");
    std::fs::write(&path, text).expect("writable");
    (dir, path.display().to_string())
}

#[test]
fn secrets_are_on_tmpfs_in_containers_that_use_them_and_nowhere_else() {
    let cluster = Cluster::with_busybox(2, 1);
    let (_secret, secret) = file(SECRET);
    let (_config, config) = file(CONFIG);
    cluster.ctl("m1", &["secret", "create", "key", &secret]).ok();
    cluster.ctl("m2", &["config", "create", "settings", &config]).ok();
    let script = "for f in /run/secrets/key /run/secrets/own /abs /settings /etc/own.conf; do \
         echo $f $(stat -c %a:%u:%g $f) $(md5sum <$f); stat -f -c %T $f; done; \
         echo x 2>/dev/null >/run/secrets/key && echo writable; echo end; exec sleep 1000";
    let flags = [
        "--name",
        "s",
        "--constraint",
        "node.hostname==w1",
        "--secret",
        "key",
        "--secret",
        "source=key,target=own,mode=0400,uid=7,gid=8",
        "--secret",
        "source=key,target=/abs",
        "--config",
        "settings",
        "--config",
        "source=settings,target=/etc/own.conf,mode=0440",
    ];
    cluster.create("m1", &[&flags[..], &["busybox", "sh", "-c", script]].concat());
    let log = cluster.wait_logged("m1", "s", "end");
    let digest = |text: &str| {
        Outcome::of(
            Command::new("sh").args(["-c", &format!("printf %s {text} | md5sum | cut -c-32")]),
        )
        .ok()
    };
    for (file, mode, text) in [
        ("/run/secrets/key", "444:0:0", SECRET),
        ("/run/secrets/own", "400:7:8", SECRET),
        ("/abs", "444:0:0", SECRET),
        ("/settings", "444:0:0", CONFIG),
        ("/etc/own.conf", "440:0:0", CONFIG),
    ] {
        assert!(log.contains(&format!("| {file} {mode} {}", digest(text))), "{file}: {log}");
    }
    assert_eq!(log.matches("| tmpfs").count(), 5, "{log}");
    assert!(!log.contains("writable"), "{log}");
    assert_nowhere_else(&cluster);
}

/// Not in what is shown, not in a file of any node, not in memory files of nodes without the task.
fn assert_nowhere_else(cluster: &Cluster) {
    let shown = [
        cluster.ctl("m1", &["secret", "inspect", "key"]).ok(),
        cluster.ctl("m1", &["secret", "inspect", "--pretty", "key"]).ok(),
        cluster.ctl("m1", &["service", "inspect", "s"]).ok(),
        cluster.ctl("m1", &["secret", "ls"]).ok(),
    ];
    let encoded =
        Outcome::of(Command::new("sh").args(["-c", &format!("printf %s {SECRET} | base64")])).ok();
    for text in &shown {
        assert!(!text.contains(SECRET) && !text.contains(&encoded), "{text}");
    }
    let lab = cluster.lab().folder().display().to_string();
    for needle in [SECRET, &encoded] {
        let found = Outcome::of(Command::new("grep").args(["-rlaF", "-D", "skip", needle, &lab]));
        assert_eq!(found.stdout, "", "on disk or in a log");
    }
    // The lab's folders within each host, as the host sees them: tmpfs of other nodes would show here.
    let on = |node: &str| {
        let line = format!("grep -rlaF -D skip {SECRET} /run/swarmd /tmp/none 2>/dev/null | wc -l");
        cluster.on_host(node, &line).stdout.trim().to_owned()
    };
    assert_eq!((on("m1"), on("m2")), ("0".into(), "0".into()));
    let data = "{{.Spec.Data}}";
    let inspected = cluster.ctl("m1", &["config", "inspect", "--format", data, "settings"]).ok();
    let plain =
        Outcome::of(Command::new("sh").args(["-c", &format!("echo {inspected} | base64 -d")]));
    assert!(inspected == CONFIG || plain.stdout == CONFIG, "{inspected}");
}

#[test]
fn a_secret_is_made_from_stdin_cannot_be_replaced_and_stays_while_it_is_used() {
    let cluster = Cluster::with_busybox(1, 0);
    let made = cluster.on_host("m1", "true").ok();
    assert_eq!(made, "");
    let (_dir, path) = file(SECRET);
    let script =
        format!("exec {} secret create piped - <{path}", support::binary("swarmctl").display());
    let mut command = Command::new("sh");
    let host = cluster.lab().env("m1").ok();
    command.args(["-c", &script]).env("SWARM_HOST", host.unwrap_or_default());
    assert_eq!(Outcome::of(&mut command).ok().len(), 25, "its id");
    let refused = cluster.ctl("m1", &["secret", "create", "piped", &path]).refused();
    assert!(refused.contains("piped"), "{refused}");
    cluster.create("m1", &["--name", "s", "--secret", "piped", "busybox", "sleep", "1000"]);
    let refused = cluster.ctl("m1", &["secret", "rm", "piped"]).refused();
    assert!(refused.contains("in use") && refused.contains('s'), "{refused}");
    cluster.ctl("m1", &["service", "rm", "s"]).ok();
    cluster.ctl("m1", &["secret", "rm", "piped"]).ok();
    assert_eq!(cluster.ctl("m1", &["secret", "ls", "-q"]).ok(), "");

    let (_big, big) = file(&"x".repeat(501 * 1024));
    let refused = cluster.ctl("m1", &["secret", "create", "big", &big]).refused();
    assert!(refused.contains("512000"), "{refused}");
}
