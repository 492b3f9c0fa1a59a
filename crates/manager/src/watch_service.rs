//! The change stream for clients: progress bars and events. What it shows is redacted like any answer.
//!
//! It keeps nothing: a watcher that falls behind is told to read everything anew.

use std::pin::Pin;

use futures::Stream;
use swarm_api::*;
use swarm_raft_store::{Action, Change, Lagged, Selector, Store, Subscription};
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate};
use crate::control::redact;
use crate::quorum::Quorum;
use crate::refusal::Refusal;

/// The watch service.
pub struct WatchService {
    store: Store,
    quorum: Quorum,
    gate: Gate,
}

impl WatchService {
    /// Watches `store`, from the newest version that `quorum` knows.
    pub fn new(store: Store, quorum: Quorum, gate: Gate) -> Self {
        Self { store, quorum, gate }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<WatchMessage, Status>> + Send>>;

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = Messages;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Messages>, Status> {
        self.gate.admit(&request, Audience::Operators)?;
        self.quorum.read_barrier().await.map_err(Refusal::Store)?;
        let messages = watch(&self.store, request.into_inner());
        Ok(Response::new(Box::pin(messages)))
    }
}

struct Watcher {
    subscription: Subscription,
    greeting: Option<WatchMessage>,
}

/// The first message has no events: it tells after which version the watcher sees everything.
fn watch(
    store: &Store,
    request: WatchRequest,
) -> impl Stream<Item = Result<WatchMessage, Status>> + Send + use<> {
    let (subscription, resync) = match request.after {
        0 => (store.subscribe(), false),
        after => match store.subscribe_after(after) {
            Ok(subscription) => (subscription, false),
            Err(Lagged) => (store.subscribe(), true),
        },
    };
    let version = subscription.version();
    let greeting = Some(WatchMessage { version, resync, events: Vec::new() });
    let selectors = request.selectors.into_iter().map(selector).collect();
    let watcher = Watcher { subscription: subscription.select(selectors), greeting };
    futures::stream::unfold(watcher, |mut watcher| async move {
        let message = watcher.next().await;
        Some((Ok(message), watcher))
    })
}

impl Watcher {
    async fn next(&mut self) -> WatchMessage {
        if let Some(greeting) = self.greeting.take() {
            return greeting;
        }
        match self.subscription.next().await {
            Ok(commit) => {
                let events = commit.changes.iter().map(event).collect();
                WatchMessage { events, version: commit.version, resync: false }
            }
            Err(Lagged) => {
                let version = self.subscription.resync().version();
                WatchMessage { version, resync: true, events: Vec::new() }
            }
        }
    }
}

fn selector(asked: WatchSelector) -> Selector {
    let kind = Some(asked.kind());
    let WatchSelector { id, service_id, node_id, .. } = asked;
    Selector { kind, id, service_id, node_id, ..Selector::default() }
}

fn event(change: &Change) -> WatchEvent {
    let action = match change.action {
        Action::Created => ChangeAction::Created,
        Action::Updated => ChangeAction::Updated,
        Action::Removed => ChangeAction::Removed,
    };
    let object = redact::any(&change.object);
    WatchEvent { action: action.into(), object: Some(object) }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use swarm_api::object::Stored;
    use swarm_raft_store::StoreError;

    use super::*;

    fn request(kind: Kind, after: u64) -> WatchRequest {
        let selectors = vec![WatchSelector { kind: kind.into(), ..WatchSelector::default() }];
        WatchRequest { selectors, after }
    }

    #[tokio::test]
    async fn a_watcher_sees_what_it_selected_without_secret_data() {
        let store = Store::standalone();
        let mut messages = Box::pin(watch(&store, request(Kind::Secret, 0)));
        assert!(messages.next().await.unwrap().unwrap().events.is_empty());
        let annotations = Some(Annotations { name: "key".into(), ..Annotations::default() });
        let spec = Some(SecretSpec { annotations, data: b"hidden".to_vec() });
        let secret = Secret { id: "s1".into(), spec, ..Secret::default() };
        let config = Config { id: "c1".into(), ..Config::default() };
        let write = store.transact(0, |tx| {
            tx.create(config.clone())?;
            tx.create(secret.clone())?;
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.version, store.view().version());
        let [event] = &message.events[..] else { panic!("{message:?}") };
        let shown = Secret::from_object(event.object.as_ref().unwrap()).unwrap();
        assert_eq!(shown.id, "s1");
        assert!(shown.spec.as_ref().unwrap().data.is_empty());
    }
    #[tokio::test]
    async fn a_watcher_goes_on_where_it_left_off_or_is_told_to_read_all_anew() {
        let store = Store::standalone();
        for n in 1..=3 {
            let config = Config { id: format!("c{n}"), ..Config::default() };
            store.transact::<_, StoreError>(0, |tx| tx.create(config.clone())).await.unwrap();
        }
        let mut messages = Box::pin(watch(&store, request(Kind::Config, 2)));
        let greeting = messages.next().await.unwrap().unwrap();
        assert!(greeting.version == 2 && !greeting.resync);
        let next = messages.next().await.unwrap().unwrap();
        assert!(next.version == 3 && next.events.len() == 1);
        let greeting = Box::pin(watch(&store, request(Kind::Config, 9))).next().await;
        assert!(greeting.unwrap().unwrap().resync, "a version that is not here");
    }
}
