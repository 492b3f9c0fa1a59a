//! Making tasks: new ones from the service's template, replacements in a slot that another task held.

use swarm_api::time::from_nanos;
use swarm_api::{Service, Task, TaskState, TaskStatus};

use super::clean::is_clean;
use super::draft::Draft;
use super::slot::{Slot, is_wanted, may_run, template};

/// A task of the service for this slot, desired RUNNING, or READY if it `waits` for another task of the slot.
pub(super) fn make(draft: &mut Draft<'_>, service: &Service, slot: &Slot, waits: bool) {
    let desired = if waits { TaskState::Ready } else { TaskState::Running };
    make_desired(draft, service, slot, desired);
}

/// Whether one of these tasks, all of one slot, is to stop and may still run: a new one waits for it.
pub(super) fn must_wait<'t>(draft: &Draft<'_>, tasks: impl IntoIterator<Item = &'t Task>) -> bool {
    tasks.into_iter().any(|t| !is_wanted(t) && may_run(draft, t))
}

/// A task of the service for this slot with the given desired state.
pub(super) fn make_desired(
    draft: &mut Draft<'_>,
    service: &Service,
    slot: &Slot,
    desired: TaskState,
) -> Option<String> {
    let spec = template(service)?.clone();
    let id = draft.new_id();
    let timestamp = Some(from_nanos(draft.now));
    let status = TaskStatus { timestamp, message: "created".into(), ..TaskStatus::default() };
    draft.put_task(Task {
        id: id.clone(),
        spec: Some(spec),
        spec_version: service.spec_version,
        service_id: service.id.clone(),
        slot: slot.number,
        node_id: slot.node_id.clone(),
        service_annotations: service.spec.as_ref().and_then(|s| s.annotations.clone()),
        status: Some(status),
        desired_state: desired.into(),
        ..Task::default()
    });
    Some(id)
}

/// A task in the place of `old`, not to run before `start_after`. It has the service's present spec if `old` had, and
/// otherwise that of `old`: only an update moves a slot to a new spec, at the update's own pace.
pub(super) fn replace(
    draft: &mut Draft<'_>,
    service: &Service,
    old: &Task,
    desired: TaskState,
    start_after: Option<i64>,
) {
    let clean = is_clean(draft, service, old);
    let Some(id) = make_desired(draft, service, &Slot::of(old), desired) else { return };
    draft.edit_task(&id, |task| {
        task.start_after = start_after.map(from_nanos);
        if !clean {
            task.spec.clone_from(&old.spec);
            task.spec_version = old.spec_version;
        }
    });
}
