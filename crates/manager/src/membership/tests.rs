use swarm_api::NodeSpec;
use swarm_raft_store::StoreError;

use super::*;

fn node(id: &str, role: NodeRole, desired: NodeRole) -> Node {
    let mut spec = NodeSpec::default();
    spec.set_desired_role(desired);
    Node { id: id.into(), spec: Some(spec), role: role.into(), ..Node::default() }
}

#[tokio::test]
async fn roles_follow_what_the_specs_ask_for() {
    let store = Store::standalone();
    let nodes = [
        node("up", NodeRole::Worker, NodeRole::Manager),
        node("down", NodeRole::Manager, NodeRole::Worker),
    ];
    store
        .transact(0, |tx| {
            for node in &nodes {
                tx.create(node.clone())?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let manager =
        RoleManager::new(store.clone(), Quorum::Standalone, Clock::system(), "self".into());
    assert!(manager.align().await.unwrap());
    let view = store.view();
    assert_eq!(view.get::<Node>("up").unwrap().role(), NodeRole::Manager);
    assert_eq!(view.get::<Node>("down").unwrap().role(), NodeRole::Worker);
}
