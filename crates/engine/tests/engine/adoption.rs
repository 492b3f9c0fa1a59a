//! Containers outlive the engine, and a new engine finds them as they are.

use std::time::Duration;

use swarm_engine::Phase;

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
        while !exit.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
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
