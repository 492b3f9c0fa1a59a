use swarm_api::{Annotations, Cluster, ClusterSpec, RemovedNode};
use swarm_raft_store::StoreError;

use super::*;

async fn store() -> Store {
    let store = Store::standalone();
    let annotations = Annotations { name: "default".into(), ..Annotations::default() };
    let spec = ClusterSpec { annotations: Some(annotations), ..ClusterSpec::default() };
    let removed = RemovedNode { node_id: "gone".into(), refused_until: None };
    let cluster = Cluster {
        id: "c1".into(),
        spec: Some(spec),
        removed_nodes: vec![removed],
        ..Cluster::default()
    };
    let demoted = Node { id: "demoted".into(), was_manager: true, ..Node::default() };
    let worker = Node { id: "w".into(), ..Node::default() };
    store
        .transact(0, |tx| {
            tx.create(cluster.clone())?;
            tx.create(demoted.clone())?;
            tx.create(worker.clone())?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    store
}

fn node(id: &str, role: NodeRole) -> Caller {
    Caller::Node { node_id: id.into(), role, cluster_id: "c1".into() }
}

async fn verdict(caller: Caller, audience: Audience) -> Result<(), Status> {
    judge(&store().await.view(), "c1", &caller, audience)
}

#[tokio::test]
async fn a_worker_may_not_operate_the_swarm() {
    let worker = node("w", NodeRole::Worker);
    assert!(verdict(worker.clone(), Audience::Nodes).await.is_ok());
    let status = verdict(worker, Audience::Operators).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_removed_node_is_refused_with_a_clear_text() {
    let status = verdict(node("gone", NodeRole::Worker), Audience::Nodes).await.unwrap_err();
    assert_eq!(status.message(), "node gone was removed from the swarm");
}

#[tokio::test]
async fn a_demoted_manager_is_refused_though_its_certificate_says_manager() {
    let demoted = node("demoted", NodeRole::Manager);
    assert!(verdict(demoted.clone(), Audience::Operators).await.is_err());
    assert!(verdict(demoted, Audience::Peers).await.is_err());
}

#[tokio::test]
async fn a_manager_that_this_replica_has_not_heard_of_may_bring_it_up_to_date_and_no_more() {
    for id in ["w", "new"] {
        let promoted = node(id, NodeRole::Manager);
        assert!(verdict(promoted.clone(), Audience::Peers).await.is_ok());
        assert!(verdict(promoted, Audience::Operators).await.is_err());
    }
    let empty = Store::standalone().view();
    let first = node("first", NodeRole::Manager);
    assert!(judge(&empty, "c1", &first, Audience::Operators).is_ok());
}

#[tokio::test]
async fn a_node_of_another_swarm_is_refused() {
    let stranger =
        Caller::Node { node_id: "x".into(), role: NodeRole::Manager, cluster_id: "c2".into() };
    let status = verdict(stranger, Audience::Operators).await.unwrap_err();
    assert!(status.message().contains("swarm c2"), "{status}");
}

#[tokio::test]
async fn the_local_socket_operates_but_speaks_no_raft() {
    assert!(verdict(Caller::Local, Audience::Operators).await.is_ok());
    assert!(verdict(Caller::Local, Audience::Peers).await.is_err());
    assert!(verdict(Caller::Anonymous, Audience::Nodes).await.is_err());
    assert!(verdict(Caller::Anonymous, Audience::Anyone).await.is_ok());
}
