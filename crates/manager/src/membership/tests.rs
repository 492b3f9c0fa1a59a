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
    let down = view.get::<Node>("down").unwrap();
    assert_eq!((down.role(), down.was_manager), (NodeRole::Worker, true));
}

#[test]
fn a_node_is_a_former_manager_until_it_is_promoted_again() {
    let mut node = node("n", NodeRole::Manager, NodeRole::Manager);
    for (role, was_manager) in
        [(NodeRole::Worker, true), (NodeRole::Worker, true), (NodeRole::Manager, false)]
    {
        take_role(&mut node, role);
        assert_eq!(node.was_manager, was_manager);
    }
}
