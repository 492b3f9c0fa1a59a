//! What is published when a command is applied: the newest view, and the changes to whoever follows
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use swarm_api::Object;
use swarm_api::object::Stored;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::View;
use crate::state::State;

/// Commits that a subscriber may lag behind; 4,096 is some seconds at full load, and the memory is
/// shared by all.
const BACKLOG: usize = 4096;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Created,
    /// It was replaced.
    Updated,
    /// It is gone.
    Removed,
}

/// One object's change.
#[derive(Clone)]
pub struct Change {
    /// What happened.
    pub action: Action,
    /// The object afterwards; as it last was, if removed.
    pub object: Arc<Object>,
    /// The object before; `None` if created.
    pub old: Option<Arc<Object>>,
}

impl std::fmt::Debug for Change {
    // Never the object: it may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, id) = (crate::record::kind(&self.object), crate::record::id(&self.object));
        write!(f, "{:?} {} {id}", self.action, crate::record::noun(kind))
    }
}

impl Change {
    /// The object, if it is of kind `T`.
    pub fn object<T: Stored>(&self) -> Option<&T> {
        T::from_object(&self.object)
    }

    /// The object before, if it is of kind `T`.
    pub fn old<T: Stored>(&self) -> Option<&T> {
        T::from_object(self.old.as_deref()?)
    }
}

/// All changes of one command.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Index of the command: version of every object it wrote.
    pub version: u64,
    /// In the order of the command's actions.
    pub changes: Vec<Change>,
}

/// The subscriber missed commits: it must start again from a whole view ([`Subscription::resync`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber fell behind and must read the whole store again")]
pub struct Lagged;

#[derive(Clone)]
enum Event {
    Commit(Arc<Commit>),
    // The tables were replaced as a whole: by a snapshot from the leader.
    Replaced,
}

/// Holds the newest view and tells subscribers. One per store.
pub(crate) struct Publisher {
    current: ArcSwap<State>,
    events: broadcast::Sender<Event>,
    // Makes "set the view and tell" one step, so that a subscription starts at an exact version.
    gate: Mutex<()>,
}

impl Publisher {
    pub(crate) fn new() -> Arc<Self> {
        let current = ArcSwap::from_pointee(State::default());
        Arc::new(Self { current, events: broadcast::channel(BACKLOG).0, gate: Mutex::new(()) })
    }

    pub(crate) fn view(&self) -> View {
        View(self.current.load_full())
    }

    pub(crate) fn commit(&self, state: Arc<State>, commit: Commit) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(state);
        // No subscriber is fine.
        let _ = self.events.send(Event::Commit(Arc::new(commit)));
    }

    /// A new version without a change: an entry of Raft's own.
    pub(crate) fn advance(&self, state: Arc<State>) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(state);
    }

    pub(crate) fn replace(&self, state: Arc<State>) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(state);
        let _ = self.events.send(Event::Replaced);
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (view, events) = (self.view(), self.events.subscribe());
        Subscription { publisher: Arc::clone(self), events, view, lagged: false }
    }
}

/// Follows the store from an exact version on: all commits in order, or [`Lagged`].
pub struct Subscription {
    publisher: Arc<Publisher>,
    events: broadcast::Receiver<Event>,
    view: View,
    lagged: bool,
}

impl Subscription {
    /// The view it started from: the first commit it yields is the next one.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The next commit. After [`Lagged`] it yields nothing else until [`Self::resync`]. Safe to
    /// cancel.
    pub async fn next(&mut self) -> Result<Arc<Commit>, Lagged> {
        if self.lagged {
            return Err(Lagged);
        }
        match self.events.recv().await {
            Ok(Event::Commit(commit)) => Ok(commit),
            // Closed cannot happen while the publisher is held; resynchronising is right in any
            // case.
            Ok(Event::Replaced) | Err(RecvError::Lagged(_) | RecvError::Closed) => {
                self.lagged = true;
                Err(Lagged)
            }
        }
    }

    /// Starts again from the newest view, which it returns.
    pub fn resync(&mut self) -> View {
        *self = self.publisher.subscribe();
        self.view.clone()
    }
}
