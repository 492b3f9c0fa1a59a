//! Tells sessions what commits concern them. One task for all sessions; bursts are taken together.

use futures::FutureExt;
use swarm_raft_store::{Lagged, Subscription};

use super::Shared;
use super::affected::Touched;
use super::content::Part;

/// Commits taken together; then the sessions are told.
const MAX_JOINED: usize = 1000;

/// Runs until dropped.
pub(super) async fn feed(shared: &Shared, mut events: Subscription) {
    loop {
        let mut touched = Touched::default();
        let mut lagged = false;
        let mut event = Some(events.next().await);
        for _ in 0..MAX_JOINED {
            match event {
                None => break,
                Some(Err(Lagged)) => {
                    events.resync();
                    lagged = true;
                }
                Some(Ok(commit)) => {
                    let view = shared.store.view();
                    commit.changes.iter().for_each(|change| touched.note(&view, change));
                }
            }
            event = events.next().now_or_never();
        }
        tell(shared, &touched, lagged);
    }
}

fn tell(shared: &Shared, touched: &Touched, lagged: bool) {
    let view = shared.store.view();
    for session in shared.sessions.all() {
        if lagged || touched.concerns_session(&session.node_id) {
            session.renew.notify_one();
        }
        let part = if lagged { Part::all() } else { touched.part_for(&view, &session.node_id) };
        let _ = session.touch(part);
    }
}
