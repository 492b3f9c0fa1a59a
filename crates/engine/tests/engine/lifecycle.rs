//! From create to remove: output, exit codes, signals, logs, exec, health.

use std::time::Duration;

use futures::StreamExt;
use swarm_engine::{
    ContainerSpec, EngineError, ExecSpec, HealthState, Healthcheck, LogLimits, LogOptions,
    LogStream, Phase, RemoveVolumes,
};

use crate::node::{DEADLINE, node, sh};

#[tokio::test]
async fn a_container_runs_writes_and_reports_its_exit() {
    let Some(node) = node().await else { return };
    let container = node.create(sh("echo hello; echo wrong >&2; hostname; exit 7")).await;
    assert_eq!(node.engine.inspect(&container.id).unwrap().phase, Phase::Created);
    node.engine.start(&container.id).await.unwrap();
    let status = node.wait(&container).await;
    assert_eq!((status.code, status.signal, status.oom_killed), (7, None, false));
    let lines: Vec<_> = node
        .engine
        .logs(&container.id, LogOptions { stderr: false, ..LogOptions::default() })
        .unwrap()
        .map(|line| line.unwrap())
        .collect()
        .await;
    assert_eq!(&lines[0].data[..], b"hello");
    assert_eq!(lines[0].stream, LogStream::Stdout);
    assert_eq!(lines[1].data[..], container.id.as_bytes()[..12]);
    assert_eq!(lines.len(), 2);
    node.clear().await;
}

#[tokio::test]
async fn a_name_is_given_once() {
    let Some(node) = node().await else { return };
    let spec = ContainerSpec { name: "web".to_owned(), ..sh("true") };
    let first = node.create(spec.clone()).await;
    let error = node.engine.create_on(spec.clone(), node.rootfs()).await.unwrap_err();
    assert!(matches!(error, EngineError::AlreadyExists { ref id, .. } if *id == first.id));
    node.engine.remove("web", RemoveVolumes::Keep).await.unwrap();
    node.create(spec).await;
    node.clear().await;
}

#[tokio::test]
async fn a_command_that_cannot_run_says_so_and_leaves_nothing() {
    let Some(node) = node().await else { return };
    let run = |command: &str| ContainerSpec {
        name: "c1".to_owned(),
        cmd: vec![command.to_owned()],
        ..ContainerSpec::default()
    };
    let missing = node.engine.create_on(run("foo"), node.rootfs()).await.unwrap_err();
    let text = "container c1: executable file not found in $PATH: \"foo\"";
    assert_eq!((missing.to_string().as_str(), missing.exit_code()), (text, Some(127)));
    let denied = node.engine.create_on(run("/etc/passwd"), node.rootfs()).await.unwrap_err();
    let text = "container c1: permission denied: \"/etc/passwd\"";
    assert_eq!((denied.to_string().as_str(), denied.exit_code()), (text, Some(126)));
    assert!(node.engine.list().is_empty());
    assert!(node.cgroups().is_empty());
    let unknown = ContainerSpec { image: "no-such-image".to_owned(), ..run("true") };
    let error = node.engine.create(unknown).await.unwrap_err();
    assert_eq!(error.to_string(), "image not found: no-such-image");
}

#[tokio::test]
async fn a_polite_container_stops_and_a_stubborn_one_is_killed() {
    let Some(node) = node().await else { return };
    let polite = node.run(sh("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")).await;
    node.said(&polite, "up").await;
    let status = node.engine.stop(&polite.id, None, None).await.unwrap();
    assert_eq!((status.code, status.signal), (3, None));
    let stubborn = node.run(sh("trap '' TERM; echo up; while :; do sleep 0.05; done")).await;
    node.said(&stubborn, "up").await;
    let grace = Some(Duration::from_millis(200));
    let status = node.engine.stop(&stubborn.id, None, grace).await.unwrap();
    assert_eq!((status.code, status.signal), (137, Some(9)));
    node.clear().await;
}

#[tokio::test]
async fn a_follower_sees_all_lines_across_rotations() {
    let Some(node) = node().await else { return };
    let log = LogLimits { max_size: 20_000, max_files: 1000 };
    let container = node.create(ContainerSpec { log, ..sh("seq 1 5000") }).await;
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let lines = node.engine.logs(&container.id, options).unwrap();
    node.engine.start(&container.id).await.unwrap();
    let all = tokio::time::timeout(DEADLINE, lines.collect::<Vec<_>>()).await.unwrap();
    let numbers: Vec<String> = all
        .into_iter()
        .map(|line| String::from_utf8(line.unwrap().data.to_vec()).unwrap())
        .collect();
    let expected: Vec<String> = (1..=5000).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    let tail = LogOptions { tail: Some(3), ..LogOptions::default() };
    let last: Vec<_> = node.engine.logs(&container.id, tail).unwrap().collect().await;
    assert_eq!(last.len(), 3);
    assert_eq!(&last[2].as_ref().unwrap().data[..], b"5000");
    node.clear().await;
}

#[tokio::test]
async fn a_command_finds_its_environment_in_the_order_it_was_given() {
    let Some(node) = node().await else { return };
    let env: Vec<String> = (0..20).map(|n| format!("V{}={n}", (n * 7) % 20)).collect();
    let spec = ContainerSpec { env: env.clone(), cmd: vec!["env".to_owned()], ..sh("") };
    let (_, output) = node.finish(spec).await;
    let seen: Vec<&str> = output.lines().filter(|line| line.starts_with('V')).collect();
    assert_eq!(seen, env);
    node.clear().await;
}

#[tokio::test]
async fn a_command_runs_inside_and_a_slow_one_is_killed() {
    let Some(node) = node().await else { return };
    let container = node.run(sh("touch /here; echo up; sleep 1000")).await;
    node.said(&container, "up").await;
    let command = |line: &str| ExecSpec {
        cmd: ["sh", "-c", line].map(str::to_owned).to_vec(),
        env: vec!["X=y".to_owned()],
        ..ExecSpec::default()
    };
    let result = node.engine.exec(&container.id, command("ls /here; echo $X >&2; exit 4")).await;
    let result = result.unwrap();
    assert_eq!(String::from_utf8_lossy(&result.output), "/here\ny\n");
    assert_eq!((result.code, result.timed_out), (4, false));
    let slow = ExecSpec { timeout: Some(Duration::from_millis(200)), ..command("sleep 999") };
    assert!(node.engine.exec(&container.id, slow).await.unwrap().timed_out);
    let missing = ExecSpec { cmd: vec!["nothere".to_owned()], ..ExecSpec::default() };
    let error = node.engine.exec(&container.id, missing).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(127));
    let gone = async {
        loop {
            let processes = node.engine.exec(&container.id, command("ps")).await.unwrap().output;
            if !String::from_utf8_lossy(&processes).contains("sleep 999") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the slow command is killed");
    node.clear().await;
}

#[tokio::test]
async fn health_follows_the_checks() {
    let Some(node) = node().await else { return };
    let check = Healthcheck {
        test: vec!["CMD-SHELL".to_owned(), "test -e /healthy".to_owned()],
        interval: Some(Duration::from_millis(50)),
        retries: Some(2),
        ..Healthcheck::default()
    };
    let spec = ContainerSpec { healthcheck: Some(check), ..sh("sleep 1000") };
    let container = node.run(spec).await;
    let mut health = node.engine.health(&container.id).unwrap();
    let mut becomes = async |wanted: HealthState| {
        let waiting = health.wait_for(|state| *state == wanted);
        tokio::time::timeout(DEADLINE, waiting).await.expect("health changes in time").unwrap();
    };
    becomes(HealthState::Unhealthy).await;
    let touch = ["touch", "/healthy"].map(str::to_owned).to_vec();
    let touch = ExecSpec { cmd: touch, ..ExecSpec::default() };
    node.engine.exec(&container.id, touch).await.unwrap();
    becomes(HealthState::Healthy).await;
    node.engine.stop(&container.id, None, Some(Duration::ZERO)).await.unwrap();
    becomes(HealthState::None).await;
    node.clear().await;
}

#[tokio::test]
async fn an_init_reaps_orphans_and_passes_signals_and_exit_codes() {
    let Some(node) = node().await else { return };
    let with_init = |line: &str| ContainerSpec { init: true, ..sh(line) };
    let (status, output) = node.finish(with_init("echo $$; exit 9")).await;
    assert_eq!((status.code, output.as_str()), (9, "2\n"));
    let waits = "trap 'exit 5' TERM; (sleep 0 &); echo up; while :; do sleep 0.05; done";
    let container = node.run(with_init(waits)).await;
    node.said(&container, "up").await;
    assert_eq!(node.engine.stop(&container.id, None, None).await.unwrap().code, 5);
    node.clear().await;
}

#[tokio::test]
async fn an_exited_container_starts_again_with_its_files() {
    let Some(node) = node().await else { return };
    let container = node.run(sh("test -e /mark && exit 8; touch /mark")).await;
    assert_eq!(node.wait(&container).await.code, 0);
    node.engine.start(&container.id).await.unwrap();
    assert_eq!(node.wait(&container).await.code, 8);
    node.clear().await;
}
