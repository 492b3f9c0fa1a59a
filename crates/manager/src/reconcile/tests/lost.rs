//! Tasks of nodes that stay away.

use super::*;

const DAY: i64 = 24 * 3600;

#[test]
fn tasks_of_a_node_that_was_down_for_a_day_are_lost() {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |_| {});
    world.service("agent", 0, as_global);
    world.live_on();
    let tasks: Vec<Task> = ["web", "agent"].iter().flat_map(|s| world.live(s)).collect();
    assert_eq!(tasks.len(), 2);
    let states = |world: &World| -> Vec<TaskState> {
        let view = world.store.view();
        tasks.iter().map(|t| view.get::<Task>(&t.id).unwrap().state()).collect()
    };
    world.set_state("a", NodeState::NodeDown);
    world.wait(DAY - 1);
    assert_eq!(states(&world), [TaskState::Running; 2], "it may come back");
    world.wait(1);
    assert_eq!(states(&world), [TaskState::Orphaned; 2]);
    world.set_state("a", NodeState::NodeReady);
    world.live_on();
    assert_eq!((world.running("web"), world.running("agent")), (1, 1), "others run instead");
}

#[test]
fn a_lost_task_of_a_removed_service_is_gone() {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |_| {});
    world.live_on();
    world.remove::<Service>("web");
    world.set_state("a", NodeState::NodeDown);
    world.wait(DAY - 1);
    assert_eq!(world.tasks("web").len(), 1);
    world.wait(1);
    assert!(world.tasks("web").is_empty());
}
