//! The next step of a task: a pure function of where it is and where it shall be.

use swarm_api::TaskState;

/// What the task actor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take the task on.
    Accept,
    /// Image, network, container.
    Prepare,
    /// Run it.
    Start,
    /// It runs: wait for its end.
    Wait,
    /// It shall not run (any more): end it.
    Shutdown,
    /// Nothing until something changes.
    Idle,
}

/// The step from `state` towards `desired`.
pub fn next(state: TaskState, desired: TaskState) -> Step {
    if state > TaskState::Running {
        return Step::Idle;
    }
    if desired >= TaskState::Shutdown {
        return Step::Shutdown;
    }
    match state {
        TaskState::New | TaskState::Pending | TaskState::Assigned => Step::Accept,
        TaskState::Accepted | TaskState::Preparing => Step::Prepare,
        TaskState::Ready | TaskState::Starting if desired >= TaskState::Running => Step::Start,
        TaskState::Running => Step::Wait,
        _ => Step::Idle,
    }
}

/// The state that a failure of `state` leads to: what never started was rejected.
pub fn failure_of(state: TaskState) -> TaskState {
    match state < TaskState::Starting {
        true => TaskState::Rejected,
        false => TaskState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_walks_from_assigned_to_running_one_step_at_a_time() {
        let steps = [
            (TaskState::Assigned, Step::Accept),
            (TaskState::Accepted, Step::Prepare),
            (TaskState::Preparing, Step::Prepare),
            (TaskState::Ready, Step::Start),
            (TaskState::Starting, Step::Start),
            (TaskState::Running, Step::Wait),
            (TaskState::Complete, Step::Idle),
        ];
        for (state, step) in steps {
            assert_eq!(next(state, TaskState::Running), step, "{state:?}");
        }
    }

    #[test]
    fn a_task_that_shall_be_ready_is_prepared_but_not_started() {
        assert_eq!(next(TaskState::Accepted, TaskState::Ready), Step::Prepare);
        assert_eq!(next(TaskState::Ready, TaskState::Ready), Step::Idle);
    }

    #[test]
    fn a_task_that_shall_stop_is_shut_down_wherever_it_is_and_only_once() {
        for state in [TaskState::Assigned, TaskState::Preparing, TaskState::Running] {
            assert_eq!(next(state, TaskState::Remove), Step::Shutdown);
        }
        assert_eq!(next(TaskState::Shutdown, TaskState::Remove), Step::Idle);
    }

    #[test]
    fn a_failure_before_the_start_is_a_rejection() {
        assert_eq!(failure_of(TaskState::Preparing), TaskState::Rejected);
        assert_eq!(failure_of(TaskState::Starting), TaskState::Failed);
    }
}
