//! Brings readers and nodes together: one task per reader drives its subscription until everything is read or the reader is
//! gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_api::{
    LogSelector, PublishLogsMessage, Service, SubscribeLogsMessage, SubscribeLogsRequest,
    SubscriptionMessage, Task, id,
};
use swarm_raft_store::{ResolveError, Store, View};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Listeners;
use super::subscription::Subscription;
use crate::refusal::Refusal;

/// Batches between a node and its reader: enough to keep both busy, little to lose.
const BATCHES: usize = 64;
/// How often deadlines are looked at while somebody is waited for.
const TICK: Duration = Duration::from_millis(200);

/// The leader's log broker. Clones share it.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

struct Shared {
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Listeners,
    readers: HashMap<String, Reader>,
}

struct Reader {
    subscription: Subscription,
    // Something happened that its driver should look at.
    news: Arc<Notify>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// A broker without readers. All of its tasks end with `cancel`.
    pub fn new(store: Store, cancel: CancellationToken) -> Self {
        let shared = Arc::new(Shared { store, state: Mutex::default() });
        Self { shared, tasks: TaskTracker::new(), cancel }
    }

    /// Reads logs: messages and gaps until everything is read, or for as long as they are received if it follows.
    pub fn subscribe(
        &self,
        request: SubscribeLogsRequest,
    ) -> Result<mpsc::Receiver<SubscribeLogsMessage>, Refusal> {
        let options = request.options.unwrap_or_default();
        let follow = options.follow;
        let commits = self.shared.store.subscribe();
        let selector = resolved(commits.view(), &request.selector.unwrap_or_default())?;
        let (sink, messages) = mpsc::channel(BATCHES);
        let (id, news) = (id::random_id(), Arc::new(Notify::new()));
        let subscription = Subscription::new(id.clone(), selector, options, sink.clone());
        let reader = Reader { subscription, news: Arc::clone(&news) };
        self.shared.state().readers.insert(id.clone(), reader);
        let driver = Driver { shared: Arc::clone(&self.shared), id, sink, news, commits, follow };
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move { cancel.run_until_cancelled_owned(driver.run()).await });
        Ok(messages)
    }

    /// The node takes requests from now on.
    pub fn listen(&self, node_id: &str) -> mpsc::Receiver<SubscriptionMessage> {
        let mut state = self.shared.state();
        let requests = state.listeners.open(node_id);
        let now = Instant::now();
        for reader in state.readers.values_mut() {
            reader.subscription.listener_opened(node_id, now);
            reader.news.notify_one();
        }
        requests
    }

    /// Hands on what a node has read. False: nobody reads it any more, the node should stop.
    pub async fn publish(&self, node_id: &str, message: PublishLogsMessage) -> bool {
        let accepted = {
            let mut state = self.shared.state();
            let Some(reader) = state.readers.get_mut(&message.subscription_id) else {
                return false;
            };
            let subscription = &mut reader.subscription;
            let lines = subscription.accept(node_id, message.messages, Instant::now());
            lines.map(|lines| (lines, subscription.sink()))
        };
        let Some((messages, sink)) = accepted else { return false };
        let batch = SubscribeLogsMessage { messages, gaps: message.gaps };
        let empty = batch.messages.is_empty() && batch.gaps.is_empty();
        // A slow reader slows its nodes down, and nobody else.
        if !empty && sink.send(batch).await.is_err() {
            return false;
        }
        let mut state = self.shared.state();
        let Some(reader) = state.readers.get_mut(&message.subscription_id) else { return false };
        if message.done {
            reader.subscription.finish(node_id);
            reader.news.notify_one();
        }
        true
    }

    /// Lasts as long as the term, and until the last reader's task has ended with it.
    pub async fn run(self) {
        self.cancel.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Ids for what the reader named.
fn resolved(view: &View, selector: &LogSelector) -> Result<LogSelector, Refusal> {
    let missing = |error: ResolveError, reference: &str| match error {
        ResolveError::NotFound { .. } => {
            Refusal::NotFound(format!("no such task or service: {reference}"))
        }
        error => error.into(),
    };
    let mut ids = LogSelector::default();
    for reference in &selector.service_ids {
        let service = view.resolve::<Service>(reference).map_err(|e| missing(e, reference))?;
        ids.service_ids.push(service.id.clone());
    }
    for reference in &selector.task_ids {
        let task = view.resolve::<Task>(reference).map_err(|e| missing(e, reference))?;
        ids.task_ids.push(task.id.clone());
    }
    match ids.service_ids.is_empty() && ids.task_ids.is_empty() {
        true => Err(Refusal::Invalid("name a service or a task whose logs to read".into())),
        false => Ok(ids),
    }
}

/// Drives one reader's subscription.
struct Driver {
    shared: Arc<Shared>,
    id: String,
    sink: mpsc::Sender<SubscribeLogsMessage>,
    news: Arc<Notify>,
    commits: swarm_raft_store::Subscription,
    follow: bool,
}

impl Driver {
    async fn run(mut self) {
        let mut view = self.commits.view().clone();
        let mut discover = true;
        loop {
            let (gaps, finished) = self.step(&view, discover);
            if !gaps.is_empty() {
                let message = SubscribeLogsMessage { gaps, ..SubscribeLogsMessage::default() };
                if self.sink.send(message).await.is_err() {
                    return;
                }
            }
            if finished {
                return;
            }
            discover = tokio::select! {
                () = self.sink.closed() => return,
                () = self.news.notified() => false,
                () = tokio::time::sleep(TICK) => false,
                // New tasks matter to who follows; a node that goes down matters to everyone.
                commit = self.commits.next() => {
                    if commit.is_err() {
                        self.commits.resync();
                    }
                    view = self.shared.store.view();
                    self.follow
                }
            };
        }
    }

    /// One look at the subscription: its gaps, and whether it is finished.
    fn step(&self, view: &View, discover: bool) -> (Vec<String>, bool) {
        let now = Instant::now();
        let mut guard = self.shared.state();
        let State { listeners, readers } = &mut *guard;
        let Some(Reader { subscription, .. }) = readers.get_mut(&self.id) else {
            return (Vec::new(), true);
        };
        let mut gaps = match discover {
            true => subscription.discover(view, now),
            false => Vec::new(),
        };
        gaps.extend(subscription.advance(listeners, view, now));
        (gaps, subscription.is_finished())
    }
}

/// However it ends, also cancelled: the nodes are told, and the reader's stream ends.
impl Drop for Driver {
    fn drop(&mut self) {
        let mut guard = self.shared.state();
        let State { listeners, readers } = &mut *guard;
        if let Some(reader) = readers.remove(&self.id) {
            reader.subscription.close(listeners);
        }
    }
}
