//! The agents' sessions: who is registered, until when it counts as alive, and what it has yet to be told.
//! State of the present leader only; a new leader starts with none and waits for the agents to come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::content::Part;
use super::progress::Progress;

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
    pending: Mutex<Pending>,
    /// Changes, of those that concern the node, that it has applied.
    settled: watch::Sender<u64>,
    deadline: Mutex<Instant>,
    /// When what its heartbeats say was written down last.
    noted: Mutex<Option<Instant>>,
}

/// What a node has yet to be told, and to apply.
#[derive(Default)]
struct Pending {
    part: Part,
    progress: Progress,
}

/// What heartbeats say is written down no more often than this.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Adds to what has to be looked at for the node. Returns the number of this change, for [`Self::settled`].
    pub(super) fn touch(&self, part: Part) -> u64 {
        let mut pending = lock(&self.pending);
        if !part.is_empty() {
            pending.part.join(part);
            pending.progress.touch();
            self.changed.notify_one();
        }
        pending.progress.touched()
    }

    /// Takes what has to be looked at, with the number of the last change in it.
    pub(super) fn take_pending(&self) -> (Part, u64) {
        let mut pending = lock(&self.pending);
        (std::mem::take(&mut pending.part), pending.progress.touched())
    }

    /// Version of the last message to the node.
    pub(super) fn version(&self) -> u64 {
        lock(&self.pending).progress.version()
    }

    /// Messages up to this version tell the node of all changes up to this one.
    pub(super) fn sent(&self, version: u64, change: u64) {
        let mut pending = lock(&self.pending);
        pending.progress.sent(version, change);
        if let Some(settled) = pending.progress.settle() {
            self.settled.send_replace(settled);
        }
    }

    /// The node's networks are as this version says.
    pub(super) fn applied(&self, version: u64) {
        if let Some(settled) = lock(&self.pending).progress.applied(version) {
            self.settled.send_replace(settled);
        }
    }

    /// Waits until the node has applied this change, or its session ends.
    pub(super) async fn settled(&self, change: u64) {
        let mut settled = self.settled.subscribe();
        tokio::select! {
            _ = settled.wait_for(|known| *known >= change) => {}
            () = self.ended.cancelled() => {}
        }
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
            settled: watch::Sender::new(0),
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
