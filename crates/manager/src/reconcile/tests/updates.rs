//! Rolling updates and rollbacks.

use swarm_api::{ConfigReference, FailureAction, SecretReference, UpdateOrder};

use super::*;

fn world(replicas: u64, config: UpdateConfig) -> World {
    let mut world = World::new(&["a", "b"]);
    world.service("web", replicas, |s| {
        updating(s, config);
        restarting(s, RestartPolicy { delay: seconds(1), ..RestartPolicy::default() });
    });
    world.live_on();
    world
}

fn one_by_one() -> UpdateConfig {
    UpdateConfig { parallelism: 1, ..UpdateConfig::default() }
}

fn images(world: &World) -> Vec<String> {
    let image = |t: Task| t.spec.unwrap().container.unwrap().image;
    world.live("web").into_iter().map(image).collect()
}

fn replaced(world: &World) -> usize {
    world.tasks("web").iter().filter(|t| t.spec_version > 1).count()
}

#[test]
fn a_first_deployment_is_no_update() {
    let world = world(3, one_by_one());
    assert_eq!(world.update_state("web"), UpdateState::UpdateNone);
}

#[test]
fn slots_are_updated_so_many_at_a_time_with_a_delay_between() {
    let config = UpdateConfig { parallelism: 2, delay: seconds(10), ..one_by_one() };
    let mut world = world(5, config);
    world.set_image("web", "app:2");
    world.live_on();
    assert_eq!((replaced(&world), world.update_state("web")), (2, UpdateState::Updating));
    world.now += 10 * SECOND;
    world.live_on();
    assert_eq!(replaced(&world), 4);
    world.now += 10 * SECOND;
    world.live_on();
    assert_eq!((replaced(&world), world.running("web")), (5, 5));
    assert_eq!(world.update_state("web"), UpdateState::Updating, "the last ones are watched");
    world.wait(30);
    assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
    let status = world.get_service("web").update_status.unwrap();
    assert_eq!(status.message, "update completed");
    assert!(status.completed_at.is_some());
}

#[test]
fn stop_first_never_runs_more_and_start_first_never_fewer_than_wanted() {
    for (order, least, most) in [(UpdateOrder::StopFirst, 2, 3), (UpdateOrder::StartFirst, 3, 4)] {
        let mut world = world(3, UpdateConfig { order: order.into(), ..one_by_one() });
        world.set_image("web", "app:2");
        let mut seen = Vec::new();
        for _ in 0..200 {
            let plan = world.rest();
            world.act();
            seen.push(world.running("web"));
            world.now = plan.wake_at().unwrap_or(world.now).max(world.now);
        }
        assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
        assert!(seen.iter().all(|n| (least..=most).contains(n)), "{order:?}: {seen:?}");
        assert_eq!(images(&world), ["app:2", "app:2", "app:2"]);
    }
}

#[test]
fn a_fixed_host_port_stops_first_and_says_so() {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |s| {
        updating(s, UpdateConfig { order: UpdateOrder::StartFirst.into(), ..one_by_one() });
        publish(s, 80, 8080);
        s.endpoint.as_mut().unwrap().ports[0].mode = 1;
    });
    world.live_on();
    world.set_image("web", "app:2");
    world.rest();
    let status = world.get_service("web").update_status.unwrap();
    assert!(status.message.contains("stop-first"), "{}", status.message);
    world.wait(60);
    assert_eq!(images(&world), ["app:2"]);
}

#[test]
fn a_failing_update_pauses_and_the_rest_goes_on_with_the_old_spec() {
    let mut world = world(3, one_by_one());
    world.set_image("web", "bad:2");
    world.wait(30);
    assert_eq!(world.update_state("web"), UpdateState::UpdatePaused);
    let message = world.get_service("web").update_status.unwrap().message;
    assert!(
        message.starts_with("update paused due to failure or early termination of task t"),
        "{message}"
    );
    assert_eq!(images(&world).iter().filter(|i| *i == "app:1").count(), 2);
    let old = world.live("web").into_iter().find(|t| t.spec_version == 1).unwrap();
    world.report(&old.id, TaskState::Failed);
    world.wait(10);
    assert_eq!(images(&world).iter().filter(|i| *i == "app:1").count(), 2);
    world.set_image("web", "app:3");
    world.wait(600);
    assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
    assert_eq!(images(&world), ["app:3", "app:3", "app:3"]);
}

#[test]
fn a_failing_update_rolls_back_by_itself() {
    let action = FailureAction::FailureRollback.into();
    let mut world = world(3, UpdateConfig { failure_action: action, ..one_by_one() });
    world.set_image("web", "bad:2");
    world.live_on();
    world.live_on();
    assert_eq!(world.update_state("web"), UpdateState::RollbackStarted);
    let message = world.get_service("web").update_status.unwrap().message;
    assert!(
        message.starts_with("update rolled back due to failure or early termination of task t"),
        "{message}"
    );
    world.wait(120);
    assert_eq!(world.update_state("web"), UpdateState::RollbackCompleted);
    assert_eq!(images(&world), ["app:1", "app:1", "app:1"]);
    assert_eq!(world.get_service("web").previous_spec, None);
}

#[test]
fn an_update_pauses_if_what_it_would_roll_back_to_is_gone() {
    let action = FailureAction::FailureRollback.into();
    for gone in ["secret", "config", "network"] {
        let mut world = world(2, UpdateConfig { failure_action: action, ..one_by_one() });
        world.edit::<Service>("web", |s| {
            let spec = template(s.spec.as_mut().unwrap());
            let container = spec.container.as_mut().unwrap();
            let (secret_id, config_id, target) = ("gone".into(), "gone".into(), "gone".into());
            match gone {
                "secret" => container.secrets.push(SecretReference {
                    secret_id,
                    secret_name: "gone".into(),
                    ..Default::default()
                }),
                "config" => container.configs.push(ConfigReference {
                    config_id,
                    config_name: "gone".into(),
                    ..Default::default()
                }),
                _ => spec.networks.push(NetworkAttachmentConfig { target, ..Default::default() }),
            }
        });
        world.update("web", |s| {
            let spec = template(s);
            spec.networks.clear();
            let image = "bad:2".into();
            spec.container = Some(ContainerSpec { image, ..ContainerSpec::default() });
        });
        world.wait(30);
        assert_eq!(world.update_state("web"), UpdateState::UpdatePaused);
        let message = world.get_service("web").update_status.unwrap().message;
        assert!(message.ends_with(&format!("{gone} gone is gone")), "{message}");
    }
}

#[test]
fn a_rollback_that_fails_pauses() {
    let action = FailureAction::FailureRollback.into();
    let mut world = world(2, UpdateConfig { failure_action: action, ..one_by_one() });
    world.edit::<Service>("web", |s| {
        s.spec.as_mut().unwrap().task.as_mut().unwrap().container.as_mut().unwrap().image =
            "bad:1".into();
    });
    world.set_image("web", "bad:2");
    world.wait(300);
    assert_eq!(world.update_state("web"), UpdateState::RollbackPaused);
}

#[test]
fn an_update_that_shall_go_on_does_whatever_fails() {
    let action = FailureAction::FailureContinue.into();
    let mut world = world(3, UpdateConfig { failure_action: action, ..one_by_one() });
    world.set_image("web", "bad:2");
    world.wait(600);
    assert!(replaced(&world) >= 3);
    assert!(images(&world).iter().all(|i| i == "bad:2"));
}

#[test]
fn failures_up_to_the_ratio_are_borne() {
    let config = UpdateConfig { max_failure_ratio: 0.4, monitor: seconds(2), ..one_by_one() };
    let mut world = world(3, config);
    world.set_image("web", "app:2");
    world.rest();
    let first = world.tasks("web").into_iter().find(|t| t.spec_version == 2).unwrap();
    world.report(&first.id, TaskState::Failed);
    world.wait(60);
    assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
}

#[test]
fn a_task_that_fails_after_it_was_watched_is_no_failure_of_the_update() {
    let mut world = world(2, UpdateConfig { delay: seconds(60), ..one_by_one() });
    world.set_image("web", "app:2");
    world.live_on();
    let new = world.live("web").into_iter().find(|t| t.spec_version == 2).unwrap();
    assert_eq!(new.state(), TaskState::Running);
    world.now += 20 * SECOND;
    world.report(&new.id, TaskState::Failed);
    world.wait(200);
    assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
}

#[test]
fn what_is_not_about_tasks_restarts_nothing() {
    let mut world = world(2, one_by_one());
    let before = world.tasks("web");
    world.update("web", |s| {
        s.annotations.as_mut().unwrap().labels.insert("team".into(), "x".into());
        s.update = Some(UpdateConfig { parallelism: 7, ..UpdateConfig::default() });
        publish(s, 80, 0);
    });
    world.update("web", |s| {
        s.endpoint = None;
        template(s).placement.get_or_insert_default().constraints = vec!["node.id!=z".into()];
    });
    world.live_on();
    let ids = |tasks: Vec<Task>| tasks.into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(world.tasks("web")), ids(before));
    let version = world.get_service("web").spec_version;
    assert!(version > 1 && world.tasks("web").iter().all(|t| t.spec_version == version));
    assert_eq!(world.update_state("web"), UpdateState::UpdateNone);
}

#[test]
fn an_update_finishes_under_a_new_leader() {
    let mut world = world(4, UpdateConfig { delay: seconds(5), ..one_by_one() });
    world.set_image("web", "app:2");
    world.wait(7);
    assert_eq!(world.update_state("web"), UpdateState::Updating);
    // Nothing but the store is carried over from pass to pass, so a new leader is any later pass.
    world.now += 600 * SECOND;
    world.wait(600);
    assert_eq!(world.update_state("web"), UpdateState::UpdateCompleted);
    assert_eq!(images(&world), ["app:2"; 4]);
}
