//! Ends the connections of who is refused from now on: a node that was removed, a manager that is one no more. Whoever comes
//! back is judged anew, call by call; what runs on an old connection would not be.
//!
//! Runs on every manager, leading or not: each has connections of its own.

use swarm_api::{Cluster, Node, NodeRole};
use swarm_ca::{Caller, Credentials};
use swarm_raft_store::{Action, Change, Store, View};

use crate::authorize::{is_removed, was_manager};

/// Runs until dropped.
pub async fn run(store: Store, credentials: Credentials) -> Result<(), String> {
    let mut commits = store.subscribe();
    loop {
        match commits.next().await {
            Ok(commit) if !commit.changes.iter().any(concerns) => continue,
            Ok(_) => {}
            Err(_) => drop(commits.resync()),
        }
        let view = store.view();
        let ended = credentials.disconnect(|caller| is_refused(&view, caller));
        if ended > 0 {
            tracing::info!(connections = ended, "ended the connections of refused nodes");
        }
    }
}

fn concerns(change: &Change) -> bool {
    let demoted = |node: &Node| {
        change.action == Action::Removed
            || change.old::<Node>().is_some_and(|old| old.role() != node.role())
    };
    change.object::<Cluster>().is_some() || change.object::<Node>().is_some_and(demoted)
}

fn is_refused(view: &View, caller: &Caller) -> bool {
    match caller {
        Caller::Node { node_id, role, .. } => {
            is_removed(view, node_id) || (*role == NodeRole::Manager && was_manager(view, node_id))
        }
        Caller::Anonymous | Caller::Local => false,
    }
}
