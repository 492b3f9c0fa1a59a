//! The change stream for clients: progress bars and events. What it shows is redacted like any answer.
//!
//! It keeps nothing: a watcher that falls behind is told to read everything anew.

use std::pin::Pin;

use futures::Stream;
use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::{Action, Change, Commit, Store, Subscription};
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate};
use crate::control::redact;

/// The watch service.
pub struct WatchService {
    store: Store,
    gate: Gate,
}

impl WatchService {
    /// Watches `store`.
    pub fn new(store: Store, gate: Gate) -> Self {
        Self { store, gate }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<WatchMessage, Status>> + Send>>;

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = Messages;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Messages>, Status> {
        self.gate.admit(&request, Audience::Operators)?;
        let messages = watch(&self.store, request.into_inner().selectors);
        Ok(Response::new(Box::pin(messages)))
    }
}

struct Watcher {
    subscription: Subscription,
    selectors: Vec<WatchSelector>,
    greeted: bool,
}

/// The first message has no events: it tells from which version on the watcher sees everything.
fn watch(
    store: &Store,
    selectors: Vec<WatchSelector>,
) -> impl Stream<Item = Result<WatchMessage, Status>> + Send + use<> {
    let watcher = Watcher { subscription: store.subscribe(), selectors, greeted: false };
    futures::stream::unfold(watcher, |mut watcher| async move {
        let message = watcher.next().await;
        Some((Ok(message), watcher))
    })
}

impl Watcher {
    async fn next(&mut self) -> WatchMessage {
        if !self.greeted {
            self.greeted = true;
            let version = self.subscription.view().version();
            return WatchMessage { version, ..WatchMessage::default() };
        }
        loop {
            let Ok(commit) = self.subscription.next().await else {
                let version = self.subscription.resync().version();
                return WatchMessage { version, resync: true, events: Vec::new() };
            };
            let events = self.events(&commit);
            if !events.is_empty() {
                return WatchMessage { events, version: commit.version, resync: false };
            }
        }
    }

    fn events(&self, commit: &Commit) -> Vec<WatchEvent> {
        let wanted = |change: &&Change| {
            self.selectors.is_empty() || self.selectors.iter().any(|s| selects(s, &change.object))
        };
        commit.changes.iter().filter(wanted).map(event).collect()
    }
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

fn selects(selector: &WatchSelector, object: &Object) -> bool {
    match selector.kind() {
        Kind::Node => is::<Node>(selector, object),
        Kind::Service => is::<Service>(selector, object),
        Kind::Task => {
            let service = Task::from_object(object).map_or("", |task| &task.service_id);
            is::<Task>(selector, object)
                && (selector.service_id.is_empty() || selector.service_id == service)
        }
        Kind::Network => is::<Network>(selector, object),
        Kind::Secret => is::<Secret>(selector, object),
        Kind::Config => is::<Config>(selector, object),
        Kind::Cluster => is::<Cluster>(selector, object),
        Kind::Unknown => false,
    }
}

/// Of this kind, and of the id if one is asked for.
fn is<T: Stored>(selector: &WatchSelector, object: &Object) -> bool {
    let found = T::from_object(object);
    found.is_some_and(|o| selector.id.is_empty() || selector.id == o.id())
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use swarm_raft_store::StoreError;

    use super::*;

    fn selector(kind: Kind) -> WatchSelector {
        WatchSelector { kind: kind.into(), ..WatchSelector::default() }
    }

    #[tokio::test]
    async fn a_watcher_sees_what_it_selected_without_secret_data() {
        let store = Store::standalone();
        let mut messages = Box::pin(watch(&store, vec![selector(Kind::Secret)]));
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
}
