//! Services with a number of tasks.

use super::*;

fn slots(tasks: &[Task]) -> Vec<u64> {
    let mut slots: Vec<u64> = tasks.iter().map(|t| t.slot).collect();
    slots.sort_unstable();
    slots
}

fn scale(world: &World, name: &str, replicas: u64) {
    let mode = service_spec::Mode::Replicated(ReplicatedMode { replicas });
    world.update(name, |s| s.mode = Some(mode));
}

#[test]
fn one_pass_turns_a_service_into_assigned_tasks() {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 3, |_| {});
    world.pass();
    let tasks = world.tasks("web");
    assert_eq!(slots(&tasks), [1, 2, 3]);
    assert!(tasks.iter().all(|t| t.state() == TaskState::Assigned && !t.node_id.is_empty()));
    assert_eq!(tasks[0].full_name(), "web.1.t0001");
    assert!(world.pass().is_empty());
}

#[test]
fn free_slot_numbers_are_taken_again_lowest_first() {
    let mut world = World::new(&["a"]);
    world.service("web", 3, |_| {});
    world.live_on();
    let second = world.tasks("web").into_iter().find(|t| t.slot == 2).unwrap();
    world.remove::<Task>(&second.id);
    scale(&world, "web", 4);
    world.live_on();
    assert_eq!(slots(&world.live("web")), [1, 2, 3, 4]);
}

#[test]
fn scaling_down_takes_from_the_fullest_node_and_spares_what_runs() {
    let mut world = World::new(&["a"]);
    world.service("web", 3, |_| {});
    world.live_on();
    world.node("b");
    scale(&world, "web", 4);
    world.live_on();
    assert_eq!(world.live("web").iter().filter(|t| t.node_id == "b").count(), 1);
    scale(&world, "web", 2);
    world.live_on();
    let left = world.live("web");
    assert_eq!(slots(&left), [1, 4]);
    assert_eq!(world.tasks("web").len(), 2, "removed tasks are gone once they have stopped");
}

#[test]
fn scaling_down_takes_what_waits_before_what_runs() {
    let mut world = World::new(&["a"]);
    world.service("web", 2, |s| {
        template(s).placement.get_or_insert_default().max_replicas = 2;
    });
    world.live_on();
    scale(&world, "web", 4);
    world.live_on();
    assert_eq!(world.live("web").len(), 4);
    scale(&world, "web", 2);
    world.live_on();
    assert_eq!(slots(&world.live("web")), [1, 2]);
    assert_eq!(world.tasks("web").len(), 2);
}

#[test]
fn tasks_of_a_removed_service_stop_and_then_go() {
    let mut world = World::new(&["a"]);
    world.service("web", 2, |_| {});
    world.live_on();
    world.remove::<Service>("web");
    world.rest();
    let tasks = world.tasks("web");
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|t| t.desired_state() == TaskState::Remove));
    world.live_on();
    assert!(world.tasks("web").is_empty());
}

#[test]
fn tasks_that_never_had_a_node_go_at_once_with_their_service() {
    let mut world = World::new(&[]);
    world.service("web", 2, |_| {});
    world.rest();
    assert_eq!(world.tasks("web").len(), 2);
    world.remove::<Service>("web");
    world.rest();
    assert!(world.tasks("web").is_empty());
}

#[test]
fn a_node_that_goes_down_loses_its_tasks_and_stops_them_when_it_returns() {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 2, |_| {});
    world.live_on();
    world.set_state("b", NodeState::NodeDown);
    world.live_on();
    let live = world.live("web");
    assert!(live.iter().all(|t| t.node_id == "a" && t.state() == TaskState::Running));
    assert_eq!(slots(&live), [1, 2]);
    assert_eq!(world.running("web"), 3, "the lost one is only told to stop");
    world.set_state("b", NodeState::NodeReady);
    world.live_on();
    assert_eq!(world.running("web"), 2);
}

#[test]
fn a_drained_node_is_left_and_a_paused_one_keeps_what_it_has() {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 4, |_| {});
    world.live_on();
    world.set_availability("a", NodeAvailability::Drain);
    world.live_on();
    assert!(world.live("web").iter().all(|t| t.node_id == "b"));
    world.set_availability("a", NodeAvailability::Active);
    world.set_availability("b", NodeAvailability::Pause);
    scale(&world, "web", 5);
    world.live_on();
    let on = |node: &str| world.live("web").iter().filter(|t| t.node_id == node).count();
    assert_eq!((on("a"), on("b")), (1, 4));
}

#[test]
fn draining_starts_the_replacement_first_where_updates_do() {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 1, |s| {
        updating(s, UpdateConfig { order: 1, parallelism: 1, ..Default::default() });
    });
    world.live_on();
    let first = world.live("web").remove(0);
    world.set_availability(&first.node_id, NodeAvailability::Drain);
    world.rest();
    assert_eq!(world.live("web").len(), 2);
    assert_eq!(world.running("web"), 1);
    world.live_on();
    let live = world.live("web");
    assert_eq!(live.len(), 1);
    assert_ne!(live[0].node_id, first.node_id);
}

#[test]
fn tasks_of_a_removed_node_are_orphaned_and_replaced() {
    let mut world = World::new(&["a", "b"]);
    world.service("web", 2, |_| {});
    world.live_on();
    world.remove::<Node>("b");
    world.live_on();
    assert!(world.live("web").iter().all(|t| t.node_id == "a"));
    assert_eq!(world.live("web").len(), 2);
    assert_eq!(world.tasks("web").iter().filter(|t| t.state() == TaskState::Orphaned).count(), 1);
}
