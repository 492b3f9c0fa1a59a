//! Tasks that wait for a node, and tasks that have to leave theirs.

use swarm_api::{ResourceRequirements, Resources};

use super::*;

fn reserve(spec: &mut ServiceSpec, memory_bytes: i64) {
    let reservations = Some(Resources { memory_bytes, ..Default::default() });
    template(spec).resources = Some(ResourceRequirements { reservations, ..Default::default() });
}

fn give(world: &World, node: &str, memory_bytes: i64) {
    world.edit::<Node>(node, |n| {
        n.description.as_mut().unwrap().resources =
            Some(Resources { memory_bytes, ..Default::default() });
    });
}

#[test]
fn a_task_without_a_node_says_why_and_goes_as_soon_as_there_is_one() {
    let mut world = World::new(&["a", "b"]);
    give(&world, "a", 10);
    give(&world, "b", 10);
    world.service("web", 1, |s| reserve(s, 100));
    let plan = world.pass();
    assert!(plan.waiting.contains("web"));
    let task = world.tasks("web").remove(0);
    assert_eq!(task.state(), TaskState::Pending);
    assert_eq!(
        task.status.unwrap().message,
        "no suitable node (insufficient resources on 2 nodes)"
    );
    assert!(world.pass().is_empty(), "the same reason is not written twice");
    give(&world, "b", 100);
    world.rest();
    assert_eq!(world.tasks("web")[0].node_id, "b");
}

#[test]
fn tasks_on_a_node_that_does_not_suit_them_any_more_are_moved() {
    let mut world = World::new(&["a", "b"]);
    world.label("a", "disk", "ssd");
    world.service("web", 1, |s| {
        template(s).placement.get_or_insert_default().constraints =
            vec!["node.labels.disk==ssd".into()];
    });
    world.live_on();
    world.label("a", "disk", "hdd");
    world.label("b", "disk", "ssd");
    world.rest();
    let old = world.tasks("web").remove(0);
    assert_eq!(old.state(), TaskState::Rejected);
    assert_eq!(old.status.unwrap().message, "assigned node no longer meets constraints");
    world.live_on();
    assert_eq!(world.live("web")[0].node_id, "b");
    assert_eq!(world.running("web"), 1, "without a delay: it was not the task's fault");
}

#[test]
fn a_node_that_shrank_keeps_its_oldest_tasks() {
    let mut world = World::new(&["a"]);
    give(&world, "a", 100);
    world.service("web", 2, |s| reserve(s, 50));
    world.live_on();
    give(&world, "a", 60);
    world.live_on();
    let running = |t: &Task| t.state() == TaskState::Running;
    assert_eq!(world.tasks("web").iter().filter(|t| running(t)).count(), 1);
    assert!(world.tasks("web").iter().any(|t| t.state() == TaskState::Pending));
}

#[test]
fn a_service_lets_its_waiting_tasks_go_when_it_is_updated() {
    let mut world = World::new(&["a"]);
    give(&world, "a", 10);
    world.service("web", 2, |s| reserve(s, 100));
    world.rest();
    world.update("web", |s| reserve(s, 5));
    world.wait(120);
    assert_eq!(world.running("web"), 2);
    assert!(world.tasks("web").iter().all(|t| t.state() != TaskState::Pending));
}
