//! Registration of a node, and what its session tells it about the cluster.

use swarm_api::time::to_proto;
use swarm_api::{ManagerPeer, Node, NodeDescription, NodeState, SessionMessage};
use swarm_raft_store::View;

use super::Shared;
use super::liveness::{mark, period};
use super::session::Session;
use crate::refusal::Refusal;

/// Writes what the node says of itself, and that it is ready. Writes nothing if that is known: agents coming to a new
/// leader cost no commits.
pub(super) async fn register(
    shared: &Shared,
    node_id: &str,
    description: Option<&NodeDescription>,
    remote: &str,
) -> Result<(), Refusal> {
    let now = shared.clock.now_nanos();
    shared
        .store
        .transact(now, |tx| {
            let Some(node) = tx.view().get::<Node>(node_id) else {
                return Err(Refusal::Denied(format!("node {node_id} is not in the cluster")));
            };
            let mut fresh = node.clone();
            if let Some(description) = description {
                fresh.description = Some(description.clone());
            }
            let own = fresh.description.as_ref().map_or("", |d| d.data_path_addr.as_str());
            let addr = if own.is_empty() { remote } else { own }.to_owned();
            mark(&mut fresh, NodeState::NodeReady, "", now);
            fresh.status.get_or_insert_default().addr = addr;
            if fresh != *node {
                tx.update(fresh)?;
            }
            Ok(())
        })
        .await
}

/// A node that is heard of is ready, even if it was declared otherwise meanwhile. Costs nothing if it is.
pub(super) async fn revive(shared: &Shared, session: &Session) -> Result<(), Refusal> {
    let lost = |view: &View| {
        let node = view.get::<Node>(&session.node_id)?;
        (!node.is_ready()).then(|| node.clone())
    };
    if lost(&shared.store.view()).is_none() {
        return Ok(());
    }
    let now = shared.clock.now_nanos();
    shared
        .store
        .transact(now, |tx| {
            let Some(mut node) = lost(tx.view()) else { return Ok(()) };
            if shared.sessions.find(&session.node_id, &session.id).is_some() {
                mark(&mut node, NodeState::NodeReady, "", now);
                tx.update(node)?;
            }
            Ok(())
        })
        .await
}

/// What the session's node must know of the cluster; `None` if the node is gone.
pub(super) fn message(view: &View, session: &Session) -> Option<SessionMessage> {
    let node = view.get::<Node>(&session.node_id)?;
    let managers = view.all::<Node>().filter_map(|n| {
        let addr = n.manager_status.as_ref().map(|m| m.addr.clone()).filter(|a| !a.is_empty())?;
        Some(ManagerPeer { node_id: n.id.clone(), addr })
    });
    let cluster = view.cluster();
    let root = cluster.and_then(|c| c.root_ca.as_ref());
    Some(SessionMessage {
        session_id: session.id.clone(),
        node: Some(node.clone()),
        managers: managers.collect(),
        root_ca_pem: root.map_or_else(String::new, |r| r.certificate_pem.clone()),
        data_path_port: cluster.map_or(0, |c| c.data_path_port),
        heartbeat_period: Some(to_proto(period(view))),
    })
}
