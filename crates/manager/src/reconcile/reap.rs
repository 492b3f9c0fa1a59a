//! The reaper: tasks that are history beyond what is kept, and tasks that are to be removed and have stopped.

use swarm_api::{FailureAction, RestartPolicy, Service, Task, TaskState, UpdateState};

use super::draft::Draft;
use super::slot::{is_wanted, slots, template};

/// Tasks kept per slot, the live one included, where the cluster says nothing.
const DEFAULT_HISTORY: i64 = 5;
/// Tasks kept beyond that while an update counts its failures.
const UPDATE_EVIDENCE: usize = 16;

/// Tasks that no node ever got and nobody wants any more have ended.
pub(super) fn settle(draft: &mut Draft<'_>, service_id: &str) {
    let never_ran = |t: &&Task| !is_wanted(t) && t.state() < TaskState::Assigned;
    let ids: Vec<String> =
        draft.tasks_of_service(service_id).filter(never_ran).map(|t| t.id.clone()).collect();
    for id in ids {
        draft.observe(&id, TaskState::Shutdown, "shut down before it was assigned to a node");
    }
}

/// Removes what is not kept of the service's tasks; `None` if the service itself is gone.
pub(super) fn reap(draft: &mut Draft<'_>, service_id: &str, service: Option<&Service>) {
    let removable = |t: &&Task| t.desired_state() >= TaskState::Remove && t.is_terminal();
    let mut gone: Vec<String> =
        draft.tasks_of_service(service_id).filter(removable).map(|t| t.id.clone()).collect();
    if let Some(service) = service
        && let Some(limit) = limit(draft, service)
    {
        for tasks in slots(draft, service_id).values() {
            let kept = tasks.iter().filter(|t| t.desired_state() < TaskState::Remove);
            let kept: Vec<&Task> = kept.copied().collect();
            let excess = kept.len().saturating_sub(limit);
            let dead = kept.into_iter().filter(|t| t.is_terminal() && !is_wanted(t));
            gone.extend(dead.take(excess).map(|t| t.id.clone()));
        }
    }
    gone.iter().for_each(|id| draft.remove_task(id));
}

/// Tasks kept per slot; `None` if all are. Restart attempts are counted from the tasks, so as many are kept as are
/// needed for that.
fn limit(draft: &Draft<'_>, service: &Service) -> Option<usize> {
    let spec = draft.view.cluster().and_then(|c| c.spec.as_ref());
    let history = usize::try_from(spec.map_or(DEFAULT_HISTORY, |s| s.task_history_limit)).ok()?;
    let restart: RestartPolicy = template(service).and_then(|t| t.restart).unwrap_or_default();
    let base = match usize::try_from(restart.max_attempts).unwrap_or(usize::MAX) {
        0 => history,
        attempts => attempts.saturating_add(1),
    };
    let state = service.update_status.as_ref().map_or(UpdateState::UpdateNone, |s| s.state());
    let update = service.spec.as_ref().and_then(|s| s.update.as_ref());
    let counts = match state {
        UpdateState::Updating => {
            update.is_none_or(|u| u.failure_action() != FailureAction::FailureContinue)
        }
        UpdateState::RollbackStarted => true,
        _ => false,
    };
    Some(if counts { base.saturating_add(UPDATE_EVIDENCE) } else { base })
}
