use std::collections::BTreeMap;

use swarm_api::object::Stored;
use swarm_api::{
    Annotations, ContainerSpec, Kind, Network, NetworkAttachmentConfig, NetworkSpec, Node,
    NodeDescription, Secret, SecretReference, SecretSpec, Service, ServiceSpec, Task, TaskSpec,
    TaskState,
};

use super::*;
use crate::{Action, Lagged, ResolveError, Selector};

fn secret(id: &str, name: &str) -> Secret {
    let annotations = Annotations { name: name.to_owned(), labels: BTreeMap::new() };
    let spec = SecretSpec { annotations: Some(annotations), data: b"x".to_vec() };
    Secret { id: id.to_owned(), spec: Some(spec), ..Secret::default() }
}

async fn create(store: &Store, object: impl Stored) -> Result<(), StoreError> {
    store.transact(7, |tx| tx.create(object.clone())).await
}

#[tokio::test]
async fn a_write_is_read_back_with_its_version_and_times() {
    let store = Store::standalone();
    create(&store, secret("s1", "db")).await.unwrap();
    let view = store.view();
    let stored = view.get::<Secret>("s1").unwrap();
    assert_eq!(stored.version(), 1);
    assert_eq!(swarm_api::time::to_nanos(&stored.meta.unwrap().created_at.unwrap()), 7);
    assert_eq!(view.by_name::<Secret>("db").unwrap().id, "s1");
    assert_eq!(view.count::<Secret>(), 1);
}

#[tokio::test]
async fn names_are_unique_per_kind_and_free_again_after_removal() {
    let store = Store::standalone();
    create(&store, secret("s1", "db")).await.unwrap();
    let clash = create(&store, secret("s2", "db")).await.unwrap_err();
    assert_eq!(clash.to_string(), "secret db already exists");
    let spec = NetworkSpec {
        annotations: Some(Annotations { name: "db".into(), ..Annotations::default() }),
        ..NetworkSpec::default()
    };
    create(&store, Network { id: "n1".into(), spec: Some(spec), ..Network::default() })
        .await
        .unwrap();
    let swap = store.transact(8, |tx| {
        tx.remove::<Secret>("s1")?;
        tx.create(secret("s2", "db"))
    });
    swap.await.unwrap();
    assert_eq!(store.view().by_name::<Secret>("db").unwrap().id, "s2");
}

#[tokio::test]
async fn an_update_based_on_an_old_version_is_refused_with_both_versions() {
    let store = Store::standalone();
    create(&store, secret("s1", "db")).await.unwrap();
    let old = store.view().get::<Secret>("s1").unwrap().clone();
    store.transact(8, |tx| tx.update(old.clone())).await.unwrap();
    let error = store.transact(9, |tx| tx.update(old.clone())).await.unwrap_err();
    assert!(matches!(error, StoreError::OutOfSequence { have: 1, want: 2, .. }), "{error}");
    let meta = store.view().get::<Secret>("s1").unwrap().meta.unwrap();
    assert_eq!(swarm_api::time::to_nanos(&meta.created_at.unwrap()), 7);
    assert_eq!(swarm_api::time::to_nanos(&meta.updated_at.unwrap()), 8);
}

#[tokio::test]
async fn a_failed_decision_changes_nothing() {
    let store = Store::standalone();
    let result = store.transact(1, |tx| {
        tx.create(secret("s1", "a"))?;
        tx.create(secret("s2", "a"))
    });
    result.await.unwrap_err();
    assert_eq!(store.view().version(), 0);
    store.transact(1, |_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(store.view().version(), 0);
}

#[tokio::test]
async fn a_transaction_reads_its_own_writes_and_coalesces_them() {
    let store = Store::standalone();
    create(&store, secret("s0", "zero")).await.unwrap();
    let mut feed = store.subscribe();
    let work = store.transact(1, |tx| {
        tx.create(secret("s1", "a"))?;
        let mut seen = tx.view().get::<Secret>("s1").unwrap().clone();
        seen.spec.as_mut().unwrap().data = b"y".to_vec();
        tx.update(seen)?;
        tx.create(secret("gone", "b"))?;
        tx.remove::<Secret>("gone")?;
        tx.remove::<Secret>("s0")?;
        tx.create(secret("s0", "nought"))
    });
    work.await.unwrap();
    let commit = feed.next().await.unwrap();
    let actions: Vec<_> = commit.changes.iter().map(|c| c.action).collect();
    assert_eq!(actions, [Action::Created, Action::Updated]);
    assert!(store.view().by_name::<Secret>("zero").is_none());
    assert!(store.view().by_name::<Secret>("nought").is_some());
}

#[tokio::test]
async fn a_request_id_is_applied_once() {
    let store = Store::standalone();
    let decide = |tx: &mut Transaction| tx.create(secret("s1", "a"));
    store.transact_once(1, "r1", decide).await.unwrap();
    let again = store.transact_once(1, "r1", decide).await.unwrap_err();
    assert_eq!(again, StoreError::Duplicate { request_id: "r1".into(), version: 1 });
}

#[tokio::test]
async fn tasks_are_found_by_service_and_node_as_they_move() {
    let store = Store::standalone();
    let task = |node: &str| Task {
        id: "t1".into(),
        service_id: "svc".into(),
        node_id: node.into(),
        ..Task::default()
    };
    create(&store, task("")).await.unwrap();
    assert_eq!(store.view().tasks_of_node("").count(), 1);
    let assign = store.transact(1, |tx| {
        let mut task = tx.view().get::<Task>("t1").unwrap().clone();
        task.node_id = "n1".into();
        tx.update(task)
    });
    assign.await.unwrap();
    let view = store.view();
    assert_eq!(view.tasks_of_node("").count(), 0);
    assert_eq!(view.tasks_of_node("n1").count(), 1);
    assert_eq!(view.tasks_of_service("svc").next().unwrap().version(), 2);
    store.transact(1, |tx| tx.remove::<Task>("t1")).await.unwrap();
    assert_eq!(store.view().tasks_of_service("svc").count(), 0);
    assert_eq!(view.tasks_of_service("svc").count(), 1, "an old view stays as it was");
}

#[tokio::test]
async fn references_resolve_by_id_then_name_then_unique_prefix() {
    let store = Store::standalone();
    create(&store, secret("abc1", "abc")).await.unwrap();
    create(&store, secret("abc2", "abc1")).await.unwrap();
    let view = store.view();
    assert_eq!(view.resolve::<Secret>("abc1").unwrap().id, "abc1");
    assert_eq!(view.resolve::<Secret>("abc").unwrap().id, "abc1");
    let error = view.resolve::<Secret>("ab").unwrap_err();
    assert_eq!(error.to_string(), "secret ab is ambiguous (2 matches found)");
    assert!(matches!(view.resolve::<Secret>("x"), Err(ResolveError::NotFound { .. })));
    let description = NodeDescription { hostname: "m1".into(), ..NodeDescription::default() };
    let node = Node { id: "n1".into(), description: Some(description), ..Node::default() };
    create(&store, node).await.unwrap();
    assert_eq!(store.view().resolve::<Node>("m1").unwrap().id, "n1");
}

#[tokio::test]
async fn a_slow_subscriber_is_told_to_resynchronise() {
    let store = Store::standalone();
    let mut feed = store.subscribe();
    for n in 0..5000 {
        create(&store, Task { id: format!("t{n}"), ..Task::default() }).await.unwrap();
    }
    assert_eq!(feed.next().await.unwrap_err(), Lagged);
    assert_eq!(feed.next().await.unwrap_err(), Lagged);
    assert_eq!(feed.resync().version(), 5000);
    create(&store, secret("s1", "a")).await.unwrap();
    assert_eq!(feed.next().await.unwrap().version, 5001);
}

#[tokio::test]
async fn a_transaction_beyond_the_size_limit_is_refused() {
    let store = Store::standalone();
    let mut large = secret("s1", "a");
    large.spec.as_mut().unwrap().data = vec![0; MAX_COMMAND_BYTES];
    let error = create(&store, large).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_subscription_resumes_from_a_version_or_says_that_it_cannot() {
    let store = Store::standalone();
    for n in 1..=3 {
        create(&store, Task { id: format!("t{n}"), ..Task::default() }).await.unwrap();
    }
    let mut feed = store.subscribe_after(1).unwrap();
    assert_eq!(feed.view().version(), 3);
    assert_eq!(feed.next().await.unwrap().version, 2);
    assert_eq!(feed.next().await.unwrap().version, 3);
    create(&store, secret("s1", "a")).await.unwrap();
    assert_eq!(feed.next().await.unwrap().version, 4);
    assert!(store.subscribe_after(9).is_err(), "a version of another replica");
    for n in 0..5000 {
        create(&store, Task { id: format!("u{n}"), ..Task::default() }).await.unwrap();
    }
    assert!(store.subscribe_after(1).is_err(), "those commits are gone");
    assert!(store.subscribe_after(5000).is_ok());
}

#[tokio::test]
async fn tasks_are_found_by_slot_and_by_the_state_they_are_to_be_in() {
    let store = Store::standalone();
    let task = |id: &str, slot, desired: TaskState| Task {
        id: id.into(),
        service_id: "svc".into(),
        slot,
        desired_state: desired as i32,
        ..Task::default()
    };
    for task in [
        task("old", 1, TaskState::Shutdown),
        task("new", 1, TaskState::Running),
        task("two", 2, TaskState::Running),
        task("global", 0, TaskState::Running),
    ] {
        create(&store, task).await.unwrap();
    }
    let view = store.view();
    let ids = |tasks: Vec<&Task>| tasks.iter().map(|t| t.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(view.tasks_of_slot("svc", 1).collect()), ["new", "old"]);
    assert_eq!(ids(view.tasks_of_slot("svc", 2).collect()), ["two"]);
    assert_eq!(view.tasks_of_slot("svc", 3).count(), 0);
    let running = ids(view.tasks_desired(TaskState::Running).collect());
    assert_eq!(running, ["global", "new", "two"]);
    store.transact(1, |tx| tx.remove::<Task>("new")).await.unwrap();
    assert_eq!(ids(store.view().tasks_of_slot("svc", 1).collect()), ["old"]);
}

#[tokio::test]
async fn services_are_found_by_what_they_refer_to() {
    let store = Store::standalone();
    let with = |secrets: &[&str]| {
        let secrets = secrets
            .iter()
            .map(|s| SecretReference { secret_id: (*s).into(), ..SecretReference::default() });
        let container = ContainerSpec { secrets: secrets.collect(), ..ContainerSpec::default() };
        let networks = vec![NetworkAttachmentConfig {
            target: "net".into(),
            ..NetworkAttachmentConfig::default()
        }];
        let task = TaskSpec { container: Some(container), networks, ..TaskSpec::default() };
        Some(ServiceSpec { task: Some(task), ..ServiceSpec::default() })
    };
    let service = Service { id: "svc".into(), spec: with(&["a", "b"]), ..Service::default() };
    create(&store, service).await.unwrap();
    assert_eq!(store.view().services_using_secret("a").count(), 1);
    assert_eq!(store.view().services_using_network("net").count(), 1);
    let change = store.transact(2, |tx| {
        let mut service = tx.view().get::<Service>("svc").unwrap().clone();
        service.spec = with(&["b", "c"]);
        tx.update(service)
    });
    change.await.unwrap();
    let users = |id: &str| store.view().services_using_secret(id).count();
    assert_eq!((users("a"), users("b"), users("c")), (0, 1, 1));
    assert_eq!(store.view().services_using_config("a").count(), 0);
}

#[tokio::test]
async fn a_subscriber_is_told_only_of_what_it_selected_and_of_what_leaves_its_selection() {
    let store = Store::standalone();
    let on_n1 = Selector { node_id: "n1".into(), ..Selector::of_kind(Kind::Task) };
    let mut feed = store.subscribe().select(vec![on_n1]);
    create(&store, secret("s1", "a")).await.unwrap();
    let task =
        |id: &str, node: &str| Task { id: id.into(), node_id: node.into(), ..Task::default() };
    let both = store.transact(1, |tx| {
        tx.create(task("t2", "n2"))?;
        tx.create(task("t1", "n1"))
    });
    both.await.unwrap();
    let commit = feed.next().await.unwrap();
    assert_eq!((commit.version, commit.changes.len()), (2, 1));
    assert_eq!(commit.changes[0].object::<Task>().unwrap().id, "t1");
    let away = store.transact(2, |tx| {
        let mut task = tx.view().get::<Task>("t1").unwrap().clone();
        task.node_id = "n2".into();
        tx.update(task)
    });
    away.await.unwrap();
    assert_eq!(feed.next().await.unwrap().changes[0].object::<Task>().unwrap().node_id, "n2");
    store.transact(3, |tx| tx.remove::<Task>("t1")).await.unwrap();
    create(&store, task("t3", "n1")).await.unwrap();
    assert_eq!(feed.next().await.unwrap().version, 5);
    assert_eq!(feed.version(), 5);
    for n in 0..5000 {
        create(&store, secret(&format!("x{n}"), &format!("x{n}"))).await.unwrap();
    }
    assert_eq!(feed.next().await.unwrap_err(), Lagged, "also if it selected none of what is gone");
    feed.resync();
    create(&store, secret("y", "y")).await.unwrap();
    create(&store, task("t4", "n1")).await.unwrap();
    assert_eq!(feed.next().await.unwrap().changes[0].object::<Task>().unwrap().id, "t4");
}

#[tokio::test]
async fn a_conflict_names_the_object_and_both_versions() {
    let store = Store::standalone();
    create(&store, secret("s1", "db")).await.unwrap();
    let old = store.view().get::<Secret>("s1").unwrap().clone();
    store.transact(8, |tx| tx.update(old.clone())).await.unwrap();
    let error = store.transact(9, |tx| tx.update(old.clone())).await.unwrap_err();
    let text = "secret s1: update out of sequence: based on version 1, now at version 2";
    assert_eq!(error.to_string(), text);
    let mut unread = old.clone();
    unread.meta = None;
    let error = store.transact(9, |tx| tx.update(unread.clone())).await.unwrap_err();
    assert!(error.to_string().ends_with("based on version 0, now at version 2"), "{error}");
}
