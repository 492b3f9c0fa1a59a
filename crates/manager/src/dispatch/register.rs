//! Registration of a node, and what its session tells it about the cluster.

use swarm_api::time::to_proto;
use swarm_api::{ManagerPeer, Node, NodeDescription, NodeState, NodeTlsInfo, SessionMessage};
use swarm_raft_store::View;

use super::Shared;
use super::liveness::{mark, period};
use super::session::Session;
use crate::ca_service::{issuing_digest, trusted_roots};
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

/// What a heartbeat says of its node.
pub(super) struct Heard {
    pub(super) tls: Option<NodeTlsInfo>,
    /// Milliseconds that the node's clock is ahead of ours.
    pub(super) skew_ms: Option<i64>,
}

/// A difference of clocks below this, milliseconds, may as well be a message that was slow.
const SKEW_MIN_MS: i64 = 2_000;
/// A known difference is written anew when it has moved by this much, milliseconds.
const SKEW_STEP_MS: u64 = 1_000;

/// Writes down what is new in a heartbeat: other certificates, a clock that has moved against ours. A session may
/// do so once a second, whatever its node says.
pub(super) async fn note(shared: &Shared, session: &Session, heard: &Heard) -> Result<(), Refusal> {
    let news = |view: &View| {
        let node = view.get::<Node>(&session.node_id)?;
        let mut fresh = node.clone();
        if let Some(tls) = &heard.tls {
            fresh.description.get_or_insert_default().tls = Some(tls.clone());
        }
        let known = fresh.status.as_ref().map_or(0, |s| s.clock_skew_ms);
        if let Some(skew) = heard.skew_ms.and_then(|skew| moved(known, skew)) {
            fresh.status.get_or_insert_default().clock_skew_ms = skew;
        }
        (fresh != *node).then_some(fresh)
    };
    if news(&shared.store.view()).is_none() || !session.may_note() {
        return Ok(());
    }
    shared
        .store
        .transact(shared.clock.now_nanos(), |tx| {
            if let Some(fresh) = news(tx.view()) {
                tx.update(fresh)?;
            }
            Ok(())
        })
        .await
}

/// The skew to write down instead of the `known` one, if that is news.
fn moved(known: i64, skew: i64) -> Option<i64> {
    let skew = if skew.abs() < SKEW_MIN_MS { 0 } else { skew };
    let same =
        if skew == 0 { known == 0 } else { known != 0 && known.abs_diff(skew) < SKEW_STEP_MS };
    (!same).then_some(skew)
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
        root_ca_pem: root.map(trusted_roots).unwrap_or_default(),
        issuer: root.map(issuing_digest).unwrap_or_default(),
        data_path_port: cluster.map_or(0, |c| c.data_path_port),
        heartbeat_period: Some(to_proto(period(view))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_as_off_from_two_seconds_on_and_is_noted_again_when_it_moves() {
        assert_eq!(moved(0, 1_900), None);
        assert_eq!(moved(0, -2_500), Some(-2_500));
        assert_eq!(moved(-2_500, -3_000), None);
        assert_eq!(moved(-2_500, -3_500), Some(-3_500));
        assert_eq!(moved(-2_500, 100), Some(0));
        assert_eq!(moved(i64::MIN, i64::MAX), Some(i64::MAX));
    }
}
