//! The loop itself, on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::reconcile::run_by;

/// A clock that goes with tokio's.
fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1000) + start.elapsed())
}

async fn until(store: &Store, what: impl Fn(&Store) -> bool) {
    for _ in 0..10_000 {
        if what(store) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to that");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_assigned_with_the_second_commit() {
    let world = World::new(&["a"]);
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let runner = tokio::spawn(run_by(world.store.clone(), clock(), cancel.clone()));
    until(&world.store, |s| !s.view().get::<Node>("a").unwrap().attachments.is_empty()).await;
    let version = world.store.view().version();
    let mut events = world.store.subscribe();
    let service = Service {
        id: "web".into(),
        spec: Some(ServiceSpec { task: Some(TaskSpec::default()), ..Default::default() }),
        ..Default::default()
    };
    let created = world.store.transact(0, |tx| tx.create(service.clone()));
    created.await.unwrap();
    events.next().await.unwrap();
    let second = events.next().await.unwrap();
    assert_eq!(second.version, version + 2);
    let task = second.changes.iter().find_map(|c| c.object::<Task>().cloned()).unwrap();
    assert_eq!(task.state(), TaskState::Assigned);
    cancel.cancel();
    runner.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_happens_when_its_delay_is_over_though_nothing_else_does() {
    let world = World::new(&["a"]);
    world.service("web", 1, |_| {});
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    tokio::spawn(run_by(world.store.clone(), clock(), cancel.clone()));
    until(&world.store, |s| s.view().count::<Task>() == 1).await;
    let first = world.tasks("web").remove(0);
    let start = tokio::time::Instant::now();
    let failed = world.store.transact(0, |tx| {
        let mut task = tx.view().get::<Task>(&first.id).cloned().unwrap();
        task.status.as_mut().unwrap().set_state(TaskState::Failed);
        tx.update(task)
    });
    failed.await.unwrap();
    let desired = |s: &Store| {
        let view = s.view();
        view.all::<Task>().any(|t| t.id != first.id && t.desired_state() == TaskState::Running)
    };
    until(&world.store, desired).await;
    assert!((5000..5100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_loop_writes_nothing_and_reads_no_clock_in_circles() {
    let world = World::new(&["a"]);
    world.service("web", 2, |_| {});
    let reads = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&reads);
    let clock = Clock::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        SystemTime::UNIX_EPOCH
    });
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    tokio::spawn(run_by(world.store.clone(), clock, cancel.clone()));
    until(&world.store, |s| s.view().count::<Task>() == 2).await;
    let version = world.store.view().version();
    let before = reads.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.store.view().version(), version);
    assert!(reads.load(Ordering::Relaxed) - before <= 10);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_address_gets_it_however_often_was_looked_in_vain() {
    let world = World::new(&["a"]);
    let config = |text: &str| swarm_api::IpamConfig { subnet: text.into(), ..Default::default() };
    world.network("tiny", |spec| spec.ipam.push(config("192.168.9.0/29")));
    world.service("web", 5, |spec| on_network(spec, "tiny"));
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    tokio::spawn(run_by(world.store.clone(), clock(), cancel.clone()));
    let count = |s: &Store, state| {
        let view = s.view();
        view.all::<Task>().filter(|t| t.state() == state).count()
    };
    until(&world.store, |s| count(s, TaskState::Pending) == 2).await;
    let starts = world.store.transact(0, |tx| {
        let assigned = tx.view().all::<Task>().find(|t| t.state() == TaskState::Assigned);
        let mut task = assigned.cloned().unwrap();
        task.status.as_mut().unwrap().set_state(TaskState::Running);
        tx.update(task)
    });
    starts.await.unwrap();
    // Looked at again, with nothing to write.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grows = world.store.transact(0, |tx| {
        let mut network = tx.view().get::<Network>("tiny").cloned().unwrap();
        network.spec.as_mut().unwrap().ipam.push(config("10.77.0.0/24"));
        tx.update(network)
    });
    grows.await.unwrap();
    until(&world.store, |s| count(s, TaskState::Pending) == 0).await;
}
