//! The agents' sessions: who is registered, until when it counts as alive, and what it has yet to be told.
//! State of the present leader only; a new leader starts with none and waits for the agents to come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::content::Part;

/// One registration of one node.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) node_id: String,
    /// Ends with the session: replaced, missed too many heartbeats, or the leader's term is over.
    pub(super) ended: CancellationToken,
    /// The session message may have changed.
    pub(super) renew: Notify,
    /// Assignments may have changed.
    pub(super) changed: Notify,
    /// Short sections, nothing is awaited in them.
    pending: Mutex<Part>,
    deadline: Mutex<Instant>,
    /// When what its heartbeats say was written down last.
    noted: Mutex<Option<Instant>>,
}

/// What heartbeats say is written down no more often than this.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Adds to what has to be looked at for the node.
    pub(super) fn touch(&self, part: Part) {
        if !part.is_empty() {
            lock(&self.pending).join(part);
            self.changed.notify_one();
        }
    }

    /// Takes what has to be looked at.
    pub(super) fn take_pending(&self) -> Part {
        std::mem::take(&mut *lock(&self.pending))
    }

    /// The node was heard of: it counts as alive for this long.
    pub(super) fn extend(&self, grace: Duration) {
        *lock(&self.deadline) = Instant::now() + grace;
    }

    /// Whether what a heartbeat says may be written down now; from then on it was.
    pub(super) fn may_note(&self) -> bool {
        let (mut noted, now) = (lock(&self.noted), Instant::now());
        let may = noted.is_none_or(|last| now.duration_since(last) >= NOTE_PAUSE);
        if may {
            *noted = Some(now);
        }
        may
    }

    fn is_overdue(&self, now: Instant) -> bool {
        *lock(&self.deadline) <= now
    }
}

/// All sessions by node.
#[derive(Default)]
pub(super) struct Sessions {
    by_node: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// A new session of a node, which ends its old one.
    pub(super) fn open(
        &self,
        node_id: &str,
        term: &CancellationToken,
        grace: Duration,
    ) -> Arc<Session> {
        let session = Arc::new(Session {
            id: swarm_api::id::random_id(),
            node_id: node_id.to_owned(),
            ended: term.child_token(),
            renew: Notify::new(),
            changed: Notify::new(),
            pending: Mutex::default(),
            deadline: Mutex::new(Instant::now() + grace),
            noted: Mutex::default(),
        });
        let old = lock(&self.by_node).insert(node_id.to_owned(), Arc::clone(&session));
        if let Some(old) = old {
            old.ended.cancel();
        }
        session
    }

    /// The node's session, if it has the id.
    pub(super) fn find(&self, node_id: &str, session_id: &str) -> Option<Arc<Session>> {
        lock(&self.by_node).get(node_id).filter(|s| s.id == session_id).cloned()
    }

    /// Whether the node has a session now.
    pub(super) fn has(&self, node_id: &str) -> bool {
        lock(&self.by_node).contains_key(node_id)
    }

    /// Ends a session, unless the node has a newer one. Returns whether it was the present one.
    pub(super) fn close(&self, session: &Session) -> bool {
        session.ended.cancel();
        let mut by_node = lock(&self.by_node);
        let present = by_node.get(&session.node_id).is_some_and(|s| s.id == session.id);
        if present {
            by_node.remove(&session.node_id);
        }
        present
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.by_node).values().cloned().collect()
    }

    /// Those not heard of in time.
    pub(super) fn overdue(&self) -> Vec<Arc<Session>> {
        let now = Instant::now();
        self.all().into_iter().filter(|s| s.is_overdue(now)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
