//! Containers outlive the engine, and a new engine finds them as they are.

use std::process::Command;
use std::time::Duration;

use swarm_engine::{Engine, EngineConfig, ExecSpec, Phase};

use crate::node::{DEADLINE, node, sh};

#[tokio::test]
async fn a_running_container_is_adopted_and_its_log_goes_on() {
    let Some(mut node) = node().await else { return };
    let line = "echo before; while [ ! -e /go ]; do sleep 0.05; done; echo after; exit 6";
    let container = node.run(sh(line)).await;
    node.said(&container, "before").await;
    let before = node.engine.inspect(&container.id).unwrap();
    node.reopen().await;
    let after = node.engine.inspect(&container.name).unwrap();
    assert_eq!(after.phase, Phase::Running);
    assert_eq!(after.pid, before.pid);
    assert!(after.started_at.is_some());
    let cmd = ["touch", "/go"].map(str::to_owned).to_vec();
    let exec = swarm_engine::ExecSpec { cmd, ..Default::default() };
    node.engine.exec(&container.id, exec).await.unwrap();
    assert_eq!(node.wait(&container).await.code, 6);
    assert_eq!(node.output(&container).await, "before\nafter\n");
    node.clear().await;
}

#[tokio::test]
async fn an_exit_nobody_saw_is_still_reported() {
    let Some(mut node) = node().await else { return };
    let container = node.run(sh("read x < /fifo; exit 11")).await;
    let waiting = node.create(sh("exit 12")).await;
    let state = node.engine.inspect(&container.id).unwrap();
    // The old engine's tasks end with it; the container ends while nobody looks.
    let config = node.config.clone();
    let exit = config.root.join("containers").join(&state.id).join("exit.json");
    tokio::time::timeout(DEADLINE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !exit.exists() {
            tick.tick().await;
        }
    })
    .await
    .expect("the exit is written");
    node.reopen().await;
    let phase = node.engine.inspect(&container.id).unwrap().phase;
    assert!(matches!(phase, Phase::Exited(ref status) if status.code != 0), "{phase:?}");
    assert_eq!(node.engine.inspect(&waiting.id).unwrap().phase, Phase::Created);
    node.engine.start(&waiting.id).await.unwrap();
    assert_eq!(node.wait(&waiting).await.code, 12);
    node.clear().await;
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_is_ended_and_says_so() {
    let Some(node) = node().await else { return };
    let container = node.run(sh("sleep 1000")).await;
    let pid = node.engine.inspect(&container.id).unwrap().pid.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim: i32 = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .and_then(|parent| parent.trim().parse().ok())
        .unwrap();
    // SAFETY: plain numbers; the process is this test's own shim.
    unsafe { libc::kill(shim, libc::SIGKILL) };
    let status = node.wait(&container).await;
    assert_eq!(status.error.as_deref(), Some("its shim was killed"));
    assert!(node.cgroups().is_empty());
    node.clear().await;
}

/// Names the directory in which the process below is to act as a daemon.
const DAEMON_DIR: &str = "SWARM_ENGINE_TEST_DAEMON";

fn daemon_config(dir: &std::path::Path) -> EngineConfig {
    EngineConfig {
        root: dir.join("root"),
        run: dir.join("run"),
        shim: env!("CARGO_BIN_EXE_swarmd-shim").into(),
        cgroup_parent: std::fs::read_to_string(dir.join("cgroup")).unwrap(),
    }
}

#[tokio::test]
async fn a_daemon_that_waits_to_be_killed() {
    // Only a part in the next test; alone it has nothing to do.
    let Some(dir) = std::env::var_os(DAEMON_DIR).map(std::path::PathBuf::from) else { return };
    let Some(node) = node().await else { return };
    let engine = Engine::open(daemon_config(&dir)).await.unwrap();
    let line = "echo before; while [ ! -e /go ]; do sleep 0.05; done; echo after; exit 6";
    let layers = vec![dir.join("layer")];
    let rootfs = swarm_engine::Rootfs { layers, ..node.rootfs() };
    let container = engine.create_on(sh(line), rootfs).await.unwrap();
    engine.start(&container.id).await.unwrap();
    std::fs::write(dir.join("partial"), &container.id).unwrap();
    std::fs::rename(dir.join("partial"), dir.join("ready")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_container_outlives_a_killed_daemon() {
    let Some(mut node) = node().await else { return };
    let dir = node.dir().join("daemon");
    std::fs::create_dir(&dir).unwrap();
    std::fs::rename(node.dir().join("layer"), dir.join("layer")).unwrap();
    std::fs::write(dir.join("cgroup"), &node.config.cgroup_parent).unwrap();
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adoption::a_daemon_that_waits_to_be_killed"])
        .env(DAEMON_DIR, &dir)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ready = tokio::time::timeout(DEADLINE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !dir.join("ready").exists() {
            tick.tick().await;
        }
    })
    .await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    ready.expect("the daemon runs a container in time");
    let id = std::fs::read_to_string(dir.join("ready")).unwrap();
    node.config = daemon_config(&dir);
    node.reopen().await;
    assert_eq!(node.engine.inspect(&id).unwrap().phase, Phase::Running);
    let cmd = ["touch", "/go"].map(str::to_owned).to_vec();
    node.engine.exec(&id, ExecSpec { cmd, ..ExecSpec::default() }).await.unwrap();
    let container = swarm_engine::Container { name: id[..12].to_owned(), id };
    assert_eq!(node.wait(&container).await.code, 6);
    assert_eq!(node.output(&container).await, "before\nafter\n");
    node.clear().await;
}
