//! Status reports: what is written, and what is refused.

use swarm_api::time::to_nanos;

use super::*;

fn task(world: &World, id: &str) -> Task {
    world.store.view().get::<Task>(id).cloned().unwrap()
}

/// Two tasks, one on each of two nodes.
fn two() -> World {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 2, |_| {});
    world.rest();
    world
}

#[tokio::test(start_paused = true)]
async fn states_only_go_forward_and_times_are_the_leaders() {
    let world = two();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    seconds(2.0).await;
    term.beat(&agent).await.unwrap();
    term.report(&agent, &[("t0001", TaskState::Running)]).await.unwrap();
    let running = task(&world, "t0001");
    assert_eq!(running.state(), TaskState::Running);
    let at = to_nanos(&running.status.unwrap().timestamp.unwrap());
    assert!((at - 1_002_000_000_000).abs() < 100_000_000, "{at}");
    assert_eq!(running.start_after.as_ref().map(to_nanos), Some(at), "since when it runs");
    let version = world.store.view().version();
    term.report(&agent, &[("t0001", TaskState::Starting)]).await.unwrap();
    term.report(&agent, &[("t0001", TaskState::Running)]).await.unwrap();
    term.report(&agent, &[("gone", TaskState::Running)]).await.unwrap();
    assert_eq!(world.store.view().version(), version, "nothing of that is news");
    term.report(&agent, &[("t0001", TaskState::Failed)]).await.unwrap();
    term.report(&agent, &[("t0001", TaskState::Rejected)]).await.unwrap();
    assert_eq!(task(&world, "t0001").state(), TaskState::Failed, "ended is ended");
}

#[tokio::test(start_paused = true)]
async fn a_node_speaks_for_its_own_tasks_only() {
    let world = two();
    let term = lead(&world.store);
    let agent = term.open("b").await;
    let refused = term.report(&agent, &[("t0001", TaskState::Running)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "task t0001 is not assigned to node b");
    assert_eq!(task(&world, "t0001").state(), TaskState::Assigned);
}

#[tokio::test(start_paused = true)]
async fn reports_that_come_together_are_one_commit() {
    let world = two();
    let term = lead(&world.store);
    let (a, b) = (term.open("a").await, term.open("b").await);
    let version = world.store.view().version();
    let (one, two) = tokio::join!(
        term.report(&a, &[("t0001", TaskState::Accepted), ("t0001", TaskState::Running)]),
        term.report(&b, &[("t0002", TaskState::Running)]),
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(world.store.view().version(), version + 1);
    assert_eq!(task(&world, "t0001").state(), TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_report_of_more_than_a_commit_holds_takes_several() {
    let mut world = World::new(&["a"]);
    let text = "x".repeat(16 << 10);
    world.service("web", 300, |s| {
        let container = crate::reconcile::tests::template(s).container.as_mut().unwrap();
        container.labels.insert("long".into(), text.clone());
    });
    world.rest();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    let ids: Vec<String> = world.tasks("web").into_iter().map(|t| t.id).collect();
    let reports: Vec<(&str, TaskState)> =
        ids.iter().map(|id| (id.as_str(), TaskState::Running)).collect();
    let version = world.store.view().version();
    term.report(&agent, &reports).await.unwrap();
    assert_eq!(world.running("web"), 300);
    assert!(world.store.view().version() > version + 1, "one commit cannot hold it");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_old_session_is_refused() {
    let world = two();
    let term = lead(&world.store);
    let old = term.open("a").await;
    let _new = term.open("a").await;
    let refused = term.report(&old, &[("t0001", TaskState::Running)]).await.unwrap_err();
    assert_eq!(refused.message(), "session invalid");
}
