//! When, and how often, a task is replaced that has ended.

use super::*;

const NEVER: RestartPolicy =
    RestartPolicy { condition: 2, delay: None, max_attempts: 0, window: None };
const ON_FAILURE: RestartPolicy =
    RestartPolicy { condition: 1, delay: None, max_attempts: 0, window: None };

fn one(policy: Option<RestartPolicy>) -> World {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |s| template(s).restart = policy);
    world.live_on();
    world
}

fn end(world: &mut World, state: TaskState) -> Plan {
    let task = world.live("web").remove(0);
    world.report(&task.id, state);
    world.rest()
}

#[test]
fn an_ended_task_is_replaced_in_its_slot_after_the_delay() {
    let mut world = one(None);
    let plan = end(&mut world, TaskState::Failed);
    let next = world.live("web").remove(0);
    assert_eq!((next.slot, next.desired_state()), (1, TaskState::Ready));
    assert_eq!(next.state(), TaskState::Assigned, "it is prepared while it waits");
    assert_eq!(plan.wake_at(), Some(world.now + 5 * SECOND));
    world.now += 5 * SECOND - 1;
    world.rest();
    assert_eq!(world.live("web")[0].desired_state(), TaskState::Ready);
    world.now += 1;
    world.rest();
    assert_eq!(world.live("web")[0].desired_state(), TaskState::Running);
}

#[test]
fn a_task_that_cannot_even_be_prepared_is_replaced_no_faster_than_its_delay() {
    let mut world = one(None);
    end(&mut world, TaskState::Rejected);
    let plan = end(&mut world, TaskState::Rejected);
    assert_eq!(world.tasks("web").len(), 2, "no third one before the second was to start");
    assert_eq!(plan.wake_at(), Some(world.now + 5 * SECOND));
    world.now += 5 * SECOND;
    world.rest();
    assert_eq!(world.tasks("web").len(), 3);
    world.wait(5);
    assert_eq!(world.running("web"), 1);
}

#[test]
fn the_condition_says_which_ends_call_for_a_restart() {
    for (policy, state, restarts) in [
        (None, TaskState::Complete, true),
        (Some(NEVER), TaskState::Failed, false),
        (Some(NEVER), TaskState::Complete, false),
        (Some(ON_FAILURE), TaskState::Complete, false),
        (Some(ON_FAILURE), TaskState::Failed, true),
        (Some(ON_FAILURE), TaskState::Rejected, true),
    ] {
        let mut world = one(policy);
        end(&mut world, state);
        world.wait(60);
        assert_eq!(world.live("web").len(), usize::from(restarts), "{policy:?} {state:?}");
        assert_eq!(world.tasks("web").len(), 1 + usize::from(restarts));
    }
}

#[test]
fn a_slot_that_gave_up_stays_dead_until_the_next_update() {
    let mut world = one(Some(RestartPolicy { max_attempts: 2, ..ON_FAILURE }));
    for _ in 0..3 {
        assert_eq!(world.live("web").len(), 1);
        end(&mut world, TaskState::Failed);
        world.wait(100);
    }
    assert_eq!(world.live("web").len(), 0);
    assert_eq!(world.tasks("web").len(), 3);
    world.update("web", |s| template(s).force_update += 1);
    world.wait(100);
    assert_eq!(world.running("web"), 1);
}

#[test]
fn attempts_outside_the_window_are_forgiven() {
    let policy = RestartPolicy { max_attempts: 1, window: seconds(20), ..ON_FAILURE };
    let mut world = one(Some(policy));
    for _ in 0..4 {
        end(&mut world, TaskState::Failed);
        world.wait(30);
        assert_eq!(world.running("web"), 1);
    }
    end(&mut world, TaskState::Failed);
    world.wait(10);
    end(&mut world, TaskState::Failed);
    world.wait(60);
    assert_eq!(world.live("web").len(), 0);
}

#[test]
fn a_crash_loop_backs_off_and_a_steady_task_does_not() {
    let mut world = one(None);
    let mut delays = Vec::new();
    for _ in 0..5 {
        let died = world.now;
        let plan = end(&mut world, TaskState::Failed);
        delays.push((plan.wake_at().unwrap() - died) / SECOND);
        world.wait(delays[delays.len() - 1]);
    }
    assert_eq!(delays, [5, 5, 10, 20, 40]);
    world.wait(3600);
    let died = world.now;
    let plan = end(&mut world, TaskState::Failed);
    assert!(plan.wake_at().unwrap() - died <= 40 * SECOND);
}

#[test]
fn a_replacement_waits_until_the_old_task_has_stopped_but_not_for_ever() {
    let mut world = one(None);
    world.node("b");
    world.set_availability("a", NodeAvailability::Drain);
    let plan = world.rest();
    let next = world.live("web").remove(0);
    assert_eq!(next.desired_state(), TaskState::Ready);
    let limit = plan.wake_at().unwrap();
    assert_eq!(limit, world.now + 70 * SECOND);
    world.now = limit;
    world.rest();
    assert_eq!(world.live("web")[0].desired_state(), TaskState::Running);
}

#[test]
fn only_the_newest_tasks_of_a_slot_are_kept() {
    let mut world = one(Some(RestartPolicy { delay: seconds(0), ..RestartPolicy::default() }));
    for _ in 0..12 {
        end(&mut world, TaskState::Failed);
        world.wait(1000);
    }
    let tasks = world.tasks("web");
    assert_eq!(tasks.len(), 5, "the live one included");
    assert_eq!(tasks.iter().filter(|t| t.state() == TaskState::Running).count(), 1);
    world.edit::<Cluster>("cluster", |c| c.spec.as_mut().unwrap().task_history_limit = 0);
    world.rest();
    assert_eq!(world.tasks("web").len(), 1);
}

#[test]
fn a_task_that_was_never_restarted_on_a_lost_node_stays_lost_if_policy_says_never() {
    let mut world = one(Some(NEVER));
    world.node("b");
    world.set_state("a", NodeState::NodeDown);
    world.wait(60);
    assert_eq!(world.live("web").len(), 0);
}
