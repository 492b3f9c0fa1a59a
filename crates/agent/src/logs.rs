//! Publishes container logs to the managers: holds a subscription stream open and answers each subscription with the lines of
//! its tasks on this node.

use std::collections::HashMap;
use std::pin::pin;

use futures::StreamExt;
use swarm_api::log_broker_client::LogBrokerClient;
use swarm_api::time::{from_nanos, to_nanos};
use swarm_api::{
    ListenSubscriptionsRequest, LogContext, LogMessage, LogOptions, LogStream, PublishLogsMessage,
    SubscriptionMessage,
};
use swarm_engine::log::{LogOptions as ReadOptions, LogStream as EngineStream};
use swarm_engine::{ContainerState, Engine};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::transport::Channel;

/// Label by which a task's container is found.
const TASK_LABEL: &str = "com.docker.swarm.task.id";
const SERVICE_LABEL: &str = "com.docker.swarm.service.id";
/// Lines in one message: a line has at most 16 KiB, so a message stays below 1 MiB, far from gRPC's 4.
const BATCH_LINES: usize = 60;
/// Messages waiting for a slow manager; a reader then pauses, the container never does.
const QUEUE: usize = 16;

/// Publishes for node `node_id` until cancelled, over whatever channel the session has.
pub async fn run(
    engine: Engine,
    node_id: String,
    mut channel: watch::Receiver<Option<Channel>>,
    cancel: CancellationToken,
) {
    loop {
        let current = channel.borrow_and_update().clone();
        let listening = async {
            match current {
                Some(channel) => listen(&engine, &node_id, channel).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = channel.changed() => if changed.is_err() { return },
            ended = listening => {
                if let Err(status) = ended {
                    tracing::debug!(reason = %status.message(), "log subscriptions ended");
                }
                // The session's own retry brings a new channel; without one there is nobody to publish to.
                tokio::select! {
                    () = cancel.cancelled() => return,
                    changed = channel.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                }
            }
        }
    }
}

async fn listen(engine: &Engine, node_id: &str, channel: Channel) -> Result<(), Status> {
    let mut client = LogBrokerClient::new(channel);
    let request = ListenSubscriptionsRequest {};
    let mut stream = client.listen_subscriptions(request).await?.into_inner();
    let mut open: HashMap<String, CancellationToken> = HashMap::new();
    let tracker = TaskTracker::new();
    // Ends every publication with this function, however it ends.
    let all = CancellationToken::new();
    let _guard = all.clone().drop_guard();
    while let Some(message) = stream.message().await? {
        if let Some(token) = open.remove(&message.id) {
            token.cancel();
        }
        if message.close {
            continue;
        }
        let token = all.child_token();
        open.insert(message.id.clone(), token.clone());
        open.retain(|_, token| !token.is_cancelled());
        let (engine, node_id, client) = (engine.clone(), node_id.to_owned(), client.clone());
        tracker.spawn(async move {
            let publishing = publish(engine, node_id, client, message);
            let ended = token.run_until_cancelled(publishing).await;
            if let Some(Err(status)) = ended {
                tracing::debug!(reason = %status.message(), "publish logs");
            }
            token.cancel();
        });
    }
    Ok(())
}

/// One subscription: a stream of messages from all its tasks, then `done`.
async fn publish(
    engine: Engine,
    node_id: String,
    mut client: LogBrokerClient<Channel>,
    subscription: SubscriptionMessage,
) -> Result<(), Status> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let reading = async move {
        let options = subscription.options.clone().unwrap_or_default();
        let containers = engine.list();
        let readers = subscription.task_ids.iter().map(|task_id| {
            let has_label = |c: &&ContainerState| c.labels.get(TASK_LABEL) == Some(task_id);
            let container = containers.iter().find(has_label).cloned();
            read_task(&engine, &node_id, &subscription.id, task_id, container, &options, &sender)
        });
        futures::future::join_all(readers).await;
        let done = PublishLogsMessage {
            subscription_id: subscription.id.clone(),
            done: true,
            ..Default::default()
        };
        // A closed channel means that the manager has ended the call.
        let _ = sender.send(done).await;
    };
    let call = client.publish_logs(ReceiverStream::new(receiver));
    let (answer, ()) = tokio::join!(call, reading);
    answer.map(drop)
}

async fn read_task(
    engine: &Engine,
    node_id: &str,
    subscription_id: &str,
    task_id: &str,
    container: Option<ContainerState>,
    options: &LogOptions,
    sender: &mpsc::Sender<PublishLogsMessage>,
) {
    let message = |messages, gaps| PublishLogsMessage {
        subscription_id: subscription_id.to_owned(),
        messages,
        gaps,
        done: false,
    };
    let Some(container) = container else {
        let gap = format!("task {task_id} has no container on node {node_id}");
        let _ = sender.send(message(Vec::new(), vec![gap])).await;
        return;
    };
    let context = LogContext {
        service_id: container.labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
        task_id: task_id.to_owned(),
        node_id: node_id.to_owned(),
    };
    let lines = match engine.logs(&container.id, read_options(options)) {
        Ok(lines) => lines,
        Err(error) => {
            let gap = format!("task {task_id} on node {node_id}: {error}");
            let _ = sender.send(message(Vec::new(), vec![gap])).await;
            return;
        }
    };
    let mut batches = pin!(lines.ready_chunks(BATCH_LINES));
    while let Some(batch) = batches.next().await {
        let mut messages = Vec::with_capacity(batch.len());
        let mut gaps = Vec::new();
        for line in batch {
            match line {
                Ok(line) => messages.push(LogMessage {
                    context: Some(context.clone()),
                    timestamp: Some(from_nanos(i64::try_from(line.time).unwrap_or(i64::MAX))),
                    stream: stream_of(line.stream).into(),
                    data: line.data.to_vec(),
                }),
                Err(error) => gaps.push(format!("task {task_id} on node {node_id}: {error}")),
            }
        }
        if sender.send(message(messages, gaps)).await.is_err() {
            return;
        }
    }
}

fn stream_of(stream: EngineStream) -> LogStream {
    match stream {
        EngineStream::Stdout => LogStream::Stdout,
        EngineStream::Stderr | EngineStream::Engine => LogStream::Stderr,
    }
}

fn read_options(options: &LogOptions) -> ReadOptions {
    let wants =
        |stream: LogStream| options.streams.is_empty() || options.streams.contains(&stream.into());
    ReadOptions {
        follow: options.follow,
        tail: u64::try_from(options.tail).ok(),
        since: options.since.as_ref().map(to_nanos).and_then(|n| u64::try_from(n).ok()),
        stdout: wants(LogStream::Stdout),
        stderr: wants(LogStream::Stderr),
    }
}
