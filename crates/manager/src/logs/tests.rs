use swarm_api::*;
use swarm_raft_store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Broker;

fn task(id: &str, node: &str) -> Task {
    let annotations = Annotations { name: "web".into(), ..Annotations::default() };
    Task {
        id: id.into(),
        slot: 1,
        service_id: "s1".into(),
        node_id: node.into(),
        service_annotations: Some(annotations),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() }),
        ..Task::default()
    }
}

async fn add(store: &Store, task: Task) {
    store.transact(0, |tx| tx.create(task.clone())).await.map_err(|e: StoreError| e).unwrap();
}

/// A swarm with service `web`, nodes n1 and n2, and a broker.
async fn swarm() -> (Store, Broker) {
    let store = Store::standalone();
    let annotations = Some(Annotations { name: "web".into(), ..Annotations::default() });
    let spec = Some(ServiceSpec { annotations, ..ServiceSpec::default() });
    let service = Service { id: "s1".into(), spec, ..Service::default() };
    store
        .transact(0, |tx| {
            for id in ["n1", "n2"] {
                tx.create(Node { id: id.into(), ..Node::default() })?;
            }
            tx.create(service.clone())?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let broker = Broker::new(store.clone(), CancellationToken::new());
    (store, broker)
}

fn read(broker: &Broker, follow: bool) -> mpsc::Receiver<SubscribeLogsMessage> {
    let selector = LogSelector { service_ids: vec!["web".into()], task_ids: Vec::new() };
    let options = LogOptions { follow, tail: -1, ..LogOptions::default() };
    let request = SubscribeLogsRequest { selector: Some(selector), options: Some(options) };
    broker.subscribe(request).unwrap()
}

fn line(subscription: &str, task: &str, text: &str, done: bool) -> PublishLogsMessage {
    let context = LogContext { task_id: task.into(), ..LogContext::default() };
    let message = LogMessage { context: Some(context), data: text.into(), ..LogMessage::default() };
    PublishLogsMessage {
        subscription_id: subscription.into(),
        messages: vec![message],
        done,
        gaps: Vec::new(),
    }
}

/// Everything until the stream ends: lines and gaps.
async fn drain(mut messages: mpsc::Receiver<SubscribeLogsMessage>) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut gaps) = (Vec::new(), Vec::new());
    while let Some(batch) = messages.recv().await {
        gaps.extend(batch.gaps);
        lines.extend(batch.messages.iter().map(|m| String::from_utf8_lossy(&m.data).into_owned()));
    }
    (lines, gaps)
}

#[tokio::test(start_paused = true)]
async fn what_all_nodes_have_is_read_and_then_the_stream_ends() {
    let (store, broker) = swarm().await;
    add(&store, task("t1", "n1")).await;
    add(&store, task("t2", "n2")).await;
    let (mut first, mut second) = (broker.listen("n1"), broker.listen("n2"));
    let messages = read(&broker, false);
    for (node, task, requests) in [("n1", "t1", &mut first), ("n2", "t2", &mut second)] {
        let request = requests.recv().await.unwrap();
        assert_eq!(request.task_ids, [task]);
        assert!(broker.publish(node, line(&request.id, task, node, true)).await);
    }
    let (mut lines, gaps) = drain(messages).await;
    lines.sort();
    assert_eq!((lines, gaps), (vec!["n1".to_owned(), "n2".to_owned()], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_listen_and_a_task_without_node_become_gaps() {
    let (store, broker) = swarm().await;
    add(&store, task("t1", "n1")).await;
    add(&store, task("t2", "")).await;
    let (lines, mut gaps) = drain(read(&broker, false)).await;
    gaps.sort();
    assert!(lines.is_empty());
    assert_eq!(gaps, ["node n1 is not available", "task web.1.t2 has not been scheduled"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_silent_becomes_a_gap() {
    let (store, broker) = swarm().await;
    add(&store, task("t1", "n1")).await;
    let _requests = broker.listen("n1");
    let (_, gaps) = drain(read(&broker, false)).await;
    assert_eq!(gaps, ["node n1 did not answer within 10 s"]);
}

#[tokio::test(start_paused = true)]
async fn following_adds_tasks_as_they_appear_and_ends_with_the_reader() {
    let (store, broker) = swarm().await;
    add(&store, task("t1", "n1")).await;
    let (mut first, mut second) = (broker.listen("n1"), broker.listen("n2"));
    let mut messages = read(&broker, true);
    let request = first.recv().await.unwrap();
    add(&store, task("t2", "n2")).await;
    assert_eq!(second.recv().await.unwrap().task_ids, ["t2"]);
    assert!(broker.publish("n2", line(&request.id, "t2", "hello", false)).await);
    let batch = messages.recv().await.unwrap();
    let context = batch.messages[0].context.as_ref().unwrap();
    assert_eq!((context.node_id.as_str(), context.service_id.as_str()), ("n2", "s1"));
    drop(messages);
    assert!(first.recv().await.unwrap().close);
    assert!(second.recv().await.unwrap().close);
    assert!(!broker.publish("n1", line(&request.id, "t1", "late", false)).await);
}

#[tokio::test(start_paused = true)]
async fn a_node_cannot_speak_for_tasks_of_another() {
    let (store, broker) = swarm().await;
    add(&store, task("t1", "n1")).await;
    let mut requests = broker.listen("n1");
    let messages = read(&broker, false);
    let id = requests.recv().await.unwrap().id;
    assert!(!broker.publish("n2", line(&id, "t1", "forged", true)).await);
    assert!(broker.publish("n1", line(&id, "t9", "forged", false)).await);
    assert!(broker.publish("n1", line(&id, "t1", "true", true)).await);
    assert_eq!(drain(messages).await.0, ["true"]);
}

#[tokio::test]
async fn an_unknown_service_is_refused() {
    let (_store, broker) = swarm().await;
    let selector = LogSelector { service_ids: vec!["nope".into()], task_ids: Vec::new() };
    let request = SubscribeLogsRequest { selector: Some(selector), options: None };
    let refusal = broker.subscribe(request).unwrap_err();
    assert_eq!(refusal.to_string(), "no such task or service: nope");
}
