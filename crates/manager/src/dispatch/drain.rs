//! Waits until no node leads new connections to a task that is to stop.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_api::{AwaitDrainedRequest, Node};

use super::Shared;
use super::content::{Part, networks_of};
use super::session::Session;

/// Returns once every node on the task's networks has applied what the store says of its service now. A node whose session
/// ends meanwhile is not waited for: it is told the present state before anything else when it comes back.
pub(super) async fn drained(shared: &Shared, request: &AwaitDrainedRequest) {
    let networks: BTreeSet<&String> = request.network_ids.iter().collect();
    let view = shared.store.view();
    let concerned = |session: &Arc<Session>| {
        let node = view.get::<Node>(&session.node_id);
        node.is_some_and(|n| networks_of(&view, n).iter().any(|id| networks.contains(id)))
    };
    let sessions: Vec<Arc<Session>> = shared.sessions.all().into_iter().filter(concerned).collect();
    let services = BTreeSet::from([request.service_id.clone()]);
    // Whatever the feed has told them so far: they look at the service now, and say when they are done.
    let told: Vec<u64> = sessions
        .iter()
        .map(|session| session.touch(Part { services: services.clone(), ..Part::default() }))
        .collect();
    for (session, change) in sessions.iter().zip(told) {
        session.settled(change).await;
    }
}
