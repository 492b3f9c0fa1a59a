//! Services with one task per node.

use super::*;

fn nodes(world: &World) -> Vec<String> {
    let mut nodes: Vec<String> = world.live("agent").into_iter().map(|t| t.node_id).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_global_service_has_one_task_on_every_node_that_suits_it() {
    let mut world = World::new(&["a", "b", "c"]);
    world.label("a", "disk", "ssd");
    world.label("b", "disk", "ssd");
    world.service("agent", 0, |s| {
        as_global(s);
        template(s).placement.get_or_insert_default().constraints =
            vec!["node.labels.disk==ssd".into()];
    });
    world.live_on();
    assert_eq!(nodes(&world), ["a", "b"]);
    assert_eq!(world.tasks("agent")[0].slot, 0);
    world.label("c", "disk", "ssd");
    world.label("b", "disk", "hdd");
    world.live_on();
    assert_eq!(nodes(&world), ["a", "c"]);
}

#[test]
fn a_new_node_gets_its_task_a_drained_one_loses_it_and_a_paused_one_keeps_it() {
    let mut world = World::new(&["a", "b"]);
    world.service("agent", 0, as_global);
    world.live_on();
    world.node("c");
    world.set_availability("a", NodeAvailability::Drain);
    world.set_availability("b", NodeAvailability::Pause);
    world.node("d");
    world.set_availability("d", NodeAvailability::Pause);
    world.live_on();
    assert_eq!(nodes(&world), ["b", "c"]);
}

#[test]
fn a_global_task_outlives_the_silence_of_its_node() {
    let mut world = World::new(&["a", "b"]);
    world.service("agent", 0, as_global);
    world.live_on();
    let before: Vec<String> = world.live("agent").into_iter().map(|t| t.id).collect();
    world.set_state("b", NodeState::NodeDown);
    world.live_on();
    world.set_state("b", NodeState::NodeReady);
    world.live_on();
    let after: Vec<String> = world.live("agent").into_iter().map(|t| t.id).collect();
    assert_eq!(before, after);
}

#[test]
fn a_global_task_whose_node_was_removed_goes() {
    let mut world = World::new(&["a", "b"]);
    world.service("agent", 0, as_global);
    world.live_on();
    world.remove::<Node>("b");
    world.live_on();
    assert_eq!(world.tasks("agent").len(), 1);
}

#[test]
fn a_global_service_is_updated_node_by_node() {
    let mut world = World::new(&["a", "b", "c"]);
    world.service("agent", 0, as_global);
    world.live_on();
    world.set_image("agent", "app:2");
    world.rest();
    let stopping = |w: &World| {
        w.tasks("agent").iter().filter(|t| t.desired_state() == TaskState::Shutdown).count()
    };
    assert_eq!(stopping(&world), 1);
    world.wait(60);
    assert_eq!(world.update_state("agent"), UpdateState::UpdateCompleted);
    assert_eq!(nodes(&world), ["a", "b", "c"]);
    assert!(world.live("agent").iter().all(|t| t.spec_version == 2));
}
