//! Nodes at the door: demotion and removal.

use super::*;

fn with_role(id: &str, role: NodeRole, state: NodeState) -> Node {
    let spec = NodeSpec { desired_role: role.into(), ..NodeSpec::default() };
    let status = NodeStatus { state: state.into(), ..NodeStatus::default() };
    Node {
        id: id.into(),
        spec: Some(spec),
        role: role.into(),
        status: Some(status),
        ..Node::default()
    }
}

async fn add(door: &Door, node: Node) -> Node {
    door.write(|tx| Ok(tx.create(node.clone())?)).await.unwrap();
    door.written(&node.id).unwrap()
}

#[tokio::test]
async fn the_last_manager_cannot_be_demoted() {
    let door = door().await;
    let only = add(&door, with_role("m1", NodeRole::Manager, NodeState::NodeReady)).await;
    let demotion = UpdateNodeRequest {
        node_id: only.id.clone(),
        version: only.meta.as_ref().unwrap().version,
        spec: Some(NodeSpec::default()),
    };
    let refusal = node::update(&door, demotion.clone()).await.unwrap_err();
    assert!(refusal.to_string().contains("last manager of the swarm"), "{refusal}");
    add(&door, with_role("m2", NodeRole::Manager, NodeState::NodeReady)).await;
    let updated = node::update(&door, demotion).await.unwrap().node.unwrap();
    assert_eq!(updated.spec.unwrap().desired_role(), NodeRole::Worker);
}

#[tokio::test]
async fn a_removed_node_is_refused_from_then_on_and_its_tasks_are_lost() {
    let door = door().await;
    add(&door, with_role("w1", NodeRole::Worker, NodeState::NodeReady)).await;
    let task = Task { id: "t1".into(), node_id: "w1".into(), ..Task::default() };
    door.write(|tx| Ok(tx.create(task.clone())?)).await.unwrap();
    let removal = |force| RemoveNodeRequest { node: "w1".into(), force };
    let refusal = node::remove(&door, removal(false)).await.unwrap_err();
    assert!(refusal.to_string().contains("is not down and can't be removed"), "{refusal}");
    node::remove(&door, removal(true)).await.unwrap();
    let view = door.view().await.unwrap();
    assert!(view.get::<Node>("w1").is_none());
    assert_eq!(view.get::<Task>("t1").unwrap().state(), TaskState::Orphaned);
    assert!(crate::authorize::is_removed(&view, "w1"));
}

#[tokio::test]
async fn a_manager_must_be_demoted_before_removal() {
    let door = door().await;
    add(&door, with_role("m1", NodeRole::Manager, NodeState::NodeDown)).await;
    let removal = RemoveNodeRequest { node: "m1".into(), force: true };
    let refusal = node::remove(&door, removal).await.unwrap_err();
    assert!(refusal.to_string().contains("must be demoted"), "{refusal}");
}
