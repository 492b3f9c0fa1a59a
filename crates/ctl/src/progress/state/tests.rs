//! The course of a wait, from made-up answers of a manager.

use prost_types::Timestamp;
use swarm_api::{
    Annotations, Meta, ReplicatedMode, ServiceSpec, TaskSpec, TaskStatus, UpdateConfig,
    UpdateStatus,
};

use super::*;

fn service(replicas: u64) -> Service {
    Service {
        spec: Some(ServiceSpec {
            mode: Some(service_spec::Mode::Replicated(ReplicatedMode { replicas })),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn with_restart(mut service: Service, condition: RestartCondition, attempts: u64) -> Service {
    let policy = RestartPolicy {
        condition: condition.into(),
        max_attempts: attempts,
        ..RestartPolicy::default()
    };
    let task = TaskSpec { restart: Some(policy), ..TaskSpec::default() };
    service.spec.as_mut().unwrap().task = Some(task);
    service
}

fn with_update(mut service: Service, state: UpdateState) -> Service {
    let status = UpdateStatus { state: state.into(), message: "why".into(), ..Default::default() };
    service.update_status = Some(status);
    service
}

fn task(slot: u64, at: i64, state: TaskState, desired: TaskState) -> Task {
    Task {
        id: format!("{slot}-{at}"),
        slot,
        service_annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
        meta: Some(Meta {
            created_at: Some(Timestamp { seconds: at, nanos: 0 }),
            ..Meta::default()
        }),
        status: Some(TaskStatus { state: state.into(), ..TaskStatus::default() }),
        desired_state: desired.into(),
        ..Task::default()
    }
}

fn running(slot: u64) -> Task {
    task(slot, 1, TaskState::Running, TaskState::Running)
}

fn failed(slot: u64, at: i64) -> Task {
    let mut task = task(slot, at, TaskState::Failed, TaskState::Shutdown);
    task.status.as_mut().unwrap().err = "task: non-zero exit (1)".into();
    task
}

fn advance(course: &mut Course, service: &Service, tasks: &[Task], seconds: u64) -> Step {
    let tasks: Vec<&Task> = tasks.iter().collect();
    let counts = ServiceCounts::default();
    course.advance(&Facts { service, counts, tasks: &tasks, now: Duration::from_secs(seconds) })
}

fn once(service: &Service, tasks: &[Task]) -> Step {
    advance(&mut Course::new(false, true, None), service, tasks, 0)
}

#[test]
fn all_running_for_the_monitor_period_is_done() {
    let (mut course, service) = (Course::new(false, true, None), service(2));
    let step = advance(&mut course, &service, &[running(1)], 0);
    assert_eq!((step.overall, step.verdict), ((1, 2), Verdict::Working));
    let tasks = [running(1), running(2)];
    let step = advance(&mut course, &service, &tasks, 1);
    let five = Duration::from_secs(5);
    assert_eq!(step.verdict, Verdict::Stabilizing { left: five, total: five });
    assert_eq!(advance(&mut course, &service, &tasks, 6).verdict, Verdict::Done);
}

#[test]
fn a_failure_while_verifying_starts_the_wait_anew_and_is_told_once() {
    let (mut course, service) = (Course::new(false, true, None), service(1));
    advance(&mut course, &service, &[running(1)], 0);
    let after = [failed(1, 1), task(1, 2, TaskState::Ready, TaskState::Ready)];
    let step = advance(&mut course, &service, &after, 1);
    assert_eq!(step.news, ["web.1: failed: task: non-zero exit (1)", "Detected task failure"]);
    assert_eq!(step.verdict, Verdict::Working);
    assert_eq!(step.slots[0].why, "failed: task: non-zero exit (1)");
    assert!(advance(&mut course, &service, &after, 2).news.is_empty());
    let again = [failed(1, 1), task(1, 2, TaskState::Running, TaskState::Running)];
    let step = advance(&mut course, &service, &again, 6);
    assert!(matches!(step.verdict, Verdict::Stabilizing { .. }));
}

#[test]
fn a_pending_task_shows_its_reason() {
    let mut pending = task(1, 1, TaskState::Pending, TaskState::Running);
    pending.status.as_mut().unwrap().message = "no suitable node (1 node not available)".into();
    let step = once(&service(1), &[pending]);
    assert_eq!(step.reasons(), ": no suitable node (1 node not available)");
}

#[test]
fn a_paused_or_rolled_back_update_fails() {
    let cases = [
        (UpdateState::UpdatePaused, "service update paused: why"),
        (UpdateState::RollbackPaused, "service rollback paused: why"),
        (UpdateState::RollbackCompleted, "service rolled back: why"),
    ];
    for (state, expected) in cases {
        let step = once(&with_update(service(1), state), &[running(1)]);
        assert_eq!(step.verdict, Verdict::Failed(expected.into()));
    }
}

#[test]
fn a_rollback_that_was_asked_for_is_done_when_completed() {
    let service = with_update(service(1), UpdateState::RollbackCompleted);
    let step = advance(&mut Course::new(true, true, None), &service, &[running(1)], 0);
    assert_eq!((step.rolling_back, step.verdict), (true, Verdict::Done));
}

#[test]
fn a_completed_update_needs_no_further_wait() {
    let service = with_update(service(1), UpdateState::UpdateCompleted);
    assert_eq!(once(&service, &[running(1)]).verdict, Verdict::Done);
    assert_eq!(once(&service, &[]).verdict, Verdict::Working);
}

#[test]
fn while_the_manager_still_watches_so_does_the_wait() {
    let service = with_update(service(1), UpdateState::Updating);
    let mut course = Course::new(false, true, None);
    advance(&mut course, &service, &[running(1)], 0);
    let step = advance(&mut course, &service, &[running(1)], 6);
    assert!(matches!(step.verdict, Verdict::Stabilizing { .. }));
    assert_eq!(advance(&mut course, &service, &[running(1)], 7).verdict, Verdict::Done);
}

#[test]
fn a_one_shot_that_ended_well_is_done_and_one_that_failed_is_not() {
    let once_only = with_restart(service(1), RestartCondition::None, 0);
    let ended = task(1, 1, TaskState::Complete, TaskState::Running);
    let step = once(&once_only, std::slice::from_ref(&ended));
    assert_eq!(step.overall, (1, 1));
    assert_eq!(once(&service(1), &[ended]).verdict, Verdict::Working);
    let step = once(&once_only, &[failed(1, 1)]);
    let Verdict::Failed(why) = step.verdict else { panic!("{step:?}") };
    assert_eq!(why, "web.1: failed: task: non-zero exit (1) (the restart condition is none)");
}

#[test]
fn a_slot_without_attempts_left_fails() {
    let service = with_restart(service(1), RestartCondition::Any, 1);
    assert_eq!(once(&service, &[failed(1, 1)]).verdict, Verdict::Working);
    let step = once(&service, &[failed(1, 1), failed(1, 2)]);
    assert!(matches!(step.verdict, Verdict::Failed(_)), "{step:?}");
}

#[test]
fn a_deploy_gives_up_on_a_slot_that_fails_again_and_again() {
    let tasks = [failed(1, 1), failed(1, 2), failed(1, 3)];
    let step = advance(&mut Course::new(false, true, Some(3)), &service(1), &tasks, 0);
    assert!(matches!(step.verdict, Verdict::Failed(_)), "{step:?}");
    assert_eq!(once(&service(1), &tasks).verdict, Verdict::Working);
}

#[test]
fn tasks_to_be_removed_do_not_count() {
    let gone = task(2, 1, TaskState::Running, TaskState::Remove);
    let step = once(&service(1), &[running(1), gone]);
    assert_eq!((step.overall, step.slots.len()), ((1, 1), 1));
}

#[test]
fn a_service_may_shorten_the_verification() {
    let mut service = service(1);
    let update = UpdateConfig {
        monitor: Some(swarm_api::time::to_proto(Duration::ZERO)),
        ..UpdateConfig::default()
    };
    service.spec.as_mut().unwrap().update = Some(update);
    assert_eq!(once(&service, &[running(1)]).verdict, Verdict::Done);
    assert_eq!(once(&super::tests::service(0), &[]).verdict, Verdict::Done);
}

#[test]
fn an_unchanged_service_need_only_be_there() {
    let mut course = Course::new(false, false, None);
    assert_eq!(advance(&mut course, &service(1), &[running(1)], 0).verdict, Verdict::Done);
}

#[test]
fn a_paused_update_says_what_made_it_fail() {
    let paused = with_update(service(1), UpdateState::UpdatePaused);
    let step = once(&paused, &[failed(1, 1)]);
    let expected = "service update paused: why; web.1: failed: task: non-zero exit (1)";
    assert_eq!(step.verdict, Verdict::Failed(expected.into()));
}
