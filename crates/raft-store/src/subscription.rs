//! What is published when a command is applied: the newest view, and the changes to whoever follows
//! them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use swarm_api::Object;
use swarm_api::object::Stored;
use tokio::sync::watch;

use crate::state::State;
use crate::{Selector, View};

/// Changes that a subscriber may lag behind, or resume from. Each keeps the object as it was before
/// in memory: with large tasks these are some 10 MB.
const KEPT_CHANGES: usize = 4096;

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

/// The newest commits.
#[derive(Default)]
struct Recent {
    commits: VecDeque<Arc<Commit>>,
    changes: usize,
    /// Commits up to this version may be missing.
    floor: u64,
}

impl Recent {
    fn push(&mut self, commit: Arc<Commit>) {
        self.changes += commit.changes.len();
        self.commits.push_back(commit);
        while self.changes > KEPT_CHANGES && self.commits.len() > 1 {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.changes -= oldest.changes.len();
            self.floor = oldest.version;
        }
    }

    /// The first commit after `version`, if it has come.
    fn after(&self, version: u64) -> Result<Option<&Arc<Commit>>, Lagged> {
        if version < self.floor {
            return Err(Lagged);
        }
        let next = self.commits.partition_point(|commit| commit.version <= version);
        Ok(self.commits.get(next))
    }
}

/// Holds the newest view and the newest commits, and tells subscribers. One per store.
pub(crate) struct Publisher {
    current: ArcSwap<State>,
    // Held while the view is set, so that a subscription starts at an exact version.
    recent: Mutex<Recent>,
    // Counts what there was to tell; what that is, is looked up.
    news: watch::Sender<u64>,
}

impl Publisher {
    pub(crate) fn new() -> Arc<Self> {
        let current = ArcSwap::from_pointee(State::default());
        Arc::new(Self { current, recent: Mutex::default(), news: watch::Sender::new(0) })
    }

    pub(crate) fn view(&self) -> View {
        View(self.current.load_full())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn commit(&self, state: Arc<State>, commit: Commit) {
        {
            let mut recent = self.recent();
            self.current.store(state);
            recent.push(Arc::new(commit));
        }
        self.news.send_modify(|count| *count += 1);
    }

    /// A new version without a change: an entry of Raft's own.
    pub(crate) fn advance(&self, state: Arc<State>) {
        let _gate = self.recent();
        self.current.store(state);
    }

    /// The tables were replaced as a whole: by a snapshot.
    pub(crate) fn replace(&self, state: Arc<State>) {
        {
            let mut recent = self.recent();
            *recent = Recent { floor: state.version, ..Recent::default() };
            self.current.store(state);
        }
        self.news.send_modify(|count| *count += 1);
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let _gate = self.recent();
        let view = self.view();
        let seen = view.version();
        self.subscription(view, seen)
    }

    fn subscription(self: &Arc<Self>, view: View, seen: u64) -> Subscription {
        let (publisher, news) = (Arc::clone(self), self.news.subscribe());
        Subscription { publisher, news, view, seen, selectors: Vec::new() }
    }

    pub(crate) fn subscribe_after(self: &Arc<Self>, seen: u64) -> Result<Subscription, Lagged> {
        let recent = self.recent();
        let view = self.view();
        // A version that is not here yet was read from another replica.
        if seen > view.version() {
            return Err(Lagged);
        }
        recent.after(seen)?;
        Ok(self.subscription(view, seen))
    }
}

/// Follows the store from an exact version on: all commits in order, or [`Lagged`].
pub struct Subscription {
    publisher: Arc<Publisher>,
    news: watch::Receiver<u64>,
    view: View,
    /// Version of the last commit it yielded or passed over.
    seen: u64,
    /// Empty: everything.
    selectors: Vec<Selector>,
}

impl Subscription {
    /// The newest view when it started. Unless it was resumed from a version, the first commit it
    /// yields is the one after this view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Version of the last commit that it has yielded, or passed over: where to resume.
    pub fn version(&self) -> u64 {
        self.seen
    }

    /// Yields only changes of objects that one of `selectors` selects, or selected before the
    /// change, and no commit without such a change; with no selector, all.
    #[must_use]
    pub fn select(mut self, selectors: Vec<Selector>) -> Self {
        self.selectors = selectors;
        self
    }

    fn selected(&self, commit: &Arc<Commit>) -> Option<Arc<Commit>> {
        if self.selectors.is_empty() {
            return Some(Arc::clone(commit));
        }
        let wanted = |c: &&Change| self.selectors.iter().any(|selector| selector.concerns(c));
        let changes: Vec<Change> = commit.changes.iter().filter(wanted).cloned().collect();
        let version = commit.version;
        (!changes.is_empty()).then(|| Arc::new(Commit { version, changes }))
    }

    /// The next commit. After [`Lagged`] it yields nothing else until [`Self::resync`]. Safe to
    /// cancel.
    pub async fn next(&mut self) -> Result<Arc<Commit>, Lagged> {
        loop {
            // Before the look: what comes after it is then news again.
            self.news.mark_unchanged();
            let next = self.publisher.recent().after(self.seen)?.cloned();
            if let Some(commit) = next {
                self.seen = commit.version;
                match self.selected(&commit) {
                    Some(commit) => return Ok(commit),
                    None => continue,
                }
            }
            // It cannot be closed while the publisher is held; resynchronising is right in any
            // case.
            self.news.changed().await.map_err(|_| Lagged)?;
        }
    }

    /// Starts again from the newest view, which it returns.
    pub fn resync(&mut self) -> View {
        let selectors = std::mem::take(&mut self.selectors);
        *self = self.publisher.subscribe().select(selectors);
        self.view.clone()
    }
}
