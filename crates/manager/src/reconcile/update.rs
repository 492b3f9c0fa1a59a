//! Rolling updates and rollbacks: slots whose tasks are not as the service wants them are replaced a few at a time.
//!
//! All it knows is in the store: the service's update status, its two specs, and the tasks with the times of their
//! states. So a new leader goes on where the old one stopped. (`Task.start_after` of a task that ran is the time since
//! when it ran; `dispatch` writes it.)

use std::time::Duration;

use swarm_api::time::{from_nanos, or_default, to_nanos};
use swarm_api::{
    FailureAction, Node, Service, Task, TaskState, UpdateConfig, UpdateOrder, UpdateState,
    UpdateStatus,
};

use super::birth::{make, make_desired, must_wait};
use super::clean::is_clean;
use super::draft::Draft;
use super::reference;
use super::restart::nanos;
use super::slot::{
    Footing, Slot, died_by_itself, footing, is_global, is_wanted, order, slots, status_at,
};
use super::wake::Wake;

/// How long a new task is watched where the configuration says nothing.
const DEFAULT_MONITOR: Duration = Duration::from_secs(5);
/// Slots updated at a time where there is no configuration.
const DEFAULT_PARALLELISM: u64 = 1;

/// One slot as an update sees it.
struct Progress {
    slot: Slot,
    /// Wanted tasks that are out of date.
    old: Vec<Task>,
    /// Wanted tasks that are up to date.
    new: Vec<Task>,
    /// Out of date, and nothing up to date is there yet.
    is_dirty: bool,
    /// Its tasks made by this update, oldest first.
    made: Vec<Task>,
}

struct Update<'s> {
    service: &'s Service,
    config: UpdateConfig,
    started_at: i64,
    rolling_back: bool,
}

/// Tasks that nothing would change about are of the service's present version, whichever they were made for: they are up
/// to date, and everybody can see it.
pub(super) fn adopt(draft: &mut Draft<'_>, service: &Service) {
    let other = |t: &&Task| is_wanted(t) && t.spec_version != service.spec_version;
    let adopted: Vec<String> = draft
        .tasks_of_service(&service.id)
        .filter(other)
        .filter(|t| is_clean(draft, service, t))
        .map(|t| t.id.clone())
        .collect();
    for id in adopted {
        draft.edit_task(&id, |t| t.spec_version = service.spec_version);
    }
}

/// Takes the service's update one step on.
pub(super) fn update(draft: &mut Draft<'_>, service: &Service, wake: &mut Wake) {
    let state = service.update_status.as_ref().map_or(UpdateState::UpdateNone, |s| s.state());
    match state {
        UpdateState::UpdatePaused | UpdateState::RollbackPaused => return,
        UpdateState::Updating | UpdateState::RollbackStarted => {}
        UpdateState::UpdateNone | UpdateState::UpdateCompleted | UpdateState::RollbackCompleted => {
            // The common case, on every pass: nothing is out of date.
            if draft.tasks_of_service(&service.id).all(|t| is_clean(draft, service, t))
                || !slots_of(draft, service, draft.now)
                    .iter()
                    .any(|s| s.is_dirty || !s.old.is_empty())
            {
                return;
            }
            begin(draft, service);
        }
    }
    let Some(service) = draft.service(&service.id).cloned() else { return };
    let update = Update::of(&service, draft.now);
    update.advance(draft, wake);
}

fn begin(draft: &mut Draft<'_>, service: &Service) {
    let asked = service.spec.as_ref().and_then(|s| s.update.as_ref()).map(|u| u.order());
    let used = order(service, service.spec.as_ref().and_then(|s| s.update.as_ref()));
    let message = if asked == Some(UpdateOrder::StartFirst) && used == UpdateOrder::StopFirst {
        "update in progress (stop-first: a host-mode port can be held by one task at a time)"
    } else {
        "update in progress"
    };
    set_status(draft, service.clone(), UpdateState::Updating, message);
}

/// Writes the service with this update status; the time of the start is kept unless something begins.
fn set_status(draft: &mut Draft<'_>, mut service: Service, state: UpdateState, message: &str) {
    let now = Some(from_nanos(draft.now));
    let begins = matches!(state, UpdateState::Updating | UpdateState::RollbackStarted);
    let done = matches!(state, UpdateState::UpdateCompleted | UpdateState::RollbackCompleted);
    let before = service.update_status.take().and_then(|s| s.started_at);
    service.update_status = Some(UpdateStatus {
        state: state.into(),
        started_at: if begins { now } else { before },
        completed_at: if done { now } else { None },
        message: message.to_owned(),
    });
    draft.put_service(service);
}

fn slots_of(draft: &Draft<'_>, service: &Service, started_at: i64) -> Vec<Progress> {
    let global = is_global(service);
    let unreachable = |slot: &Slot| global && draft.node(&slot.node_id).is_none_or(Node::is_down);
    let all = slots(draft, &service.id).into_iter();
    all.filter(|(slot, _)| !unreachable(slot))
        .filter_map(|(slot, tasks)| progress(draft, service, started_at, slot, &tasks))
        .collect()
}

fn progress(
    draft: &Draft<'_>,
    service: &Service,
    started_at: i64,
    slot: Slot,
    tasks: &[&Task],
) -> Option<Progress> {
    let kept = tasks.iter().filter(|t| t.desired_state() < TaskState::Remove);
    let tasks: Vec<&Task> = kept.copied().collect();
    let last = tasks.last()?;
    let wanted = tasks.iter().filter(|t| is_wanted(t));
    let (new, old): (Vec<&Task>, Vec<&Task>) = wanted.partition(|t| is_clean(draft, service, t));
    let is_dirty = new.is_empty() && (!old.is_empty() || !is_clean(draft, service, last));
    let made = tasks
        .iter()
        .filter(|t| t.spec_version == service.spec_version && draft.made_at(t) >= started_at);
    let owned = |tasks: Vec<&Task>| tasks.into_iter().cloned().collect();
    Some(Progress {
        slot,
        is_dirty,
        made: owned(made.copied().collect()),
        old: owned(old),
        new: owned(new),
    })
}

impl<'s> Update<'s> {
    fn of(service: &'s Service, now: i64) -> Update<'s> {
        let status = service.update_status.as_ref();
        let rolling_back = status.is_some_and(|s| s.state() == UpdateState::RollbackStarted);
        let spec = service.spec.as_ref();
        let asked =
            if rolling_back { spec.and_then(|s| s.rollback) } else { spec.and_then(|s| s.update) };
        let config = asked
            .unwrap_or(UpdateConfig { parallelism: DEFAULT_PARALLELISM, ..Default::default() });
        let started_at = status.and_then(|s| s.started_at.as_ref()).map_or(now, to_nanos);
        Update { service, config, started_at, rolling_back }
    }

    fn advance(&self, draft: &mut Draft<'_>, wake: &mut Wake) {
        let slots = slots_of(draft, self.service, self.started_at);
        if let Some(failed) = self.too_many_failures(&slots) {
            return self.fail(draft, &failed);
        }
        for slot in &slots {
            self.supersede(draft, slot);
        }
        let busy: Vec<Option<i64>> = slots.iter().filter_map(|s| self.busy(draft, s)).collect();
        busy.iter().flatten().for_each(|until| wake.at(*until));
        let parallelism = match self.config.parallelism {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let mut dirty: Vec<&Progress> = slots.iter().filter(|s| s.is_dirty).collect();
        // What does not run serves nobody: it goes first.
        dirty.sort_by_key(|s| s.old.iter().any(|t| t.state() == TaskState::Running));
        for slot in dirty.iter().take(parallelism.saturating_sub(busy.len())) {
            self.start(draft, slot);
        }
        if dirty.is_empty() && busy.is_empty() {
            self.finish(draft, &slots, wake);
        }
    }

    /// Old tasks of a slot that has a new one go when their order says so.
    fn supersede(&self, draft: &mut Draft<'_>, slot: &Progress) {
        let runs = slot.new.iter().any(|t| t.state() == TaskState::Running);
        let stop_first = order(self.service, Some(&self.config)) == UpdateOrder::StopFirst;
        if !slot.new.is_empty() && (runs || stop_first) {
            slot.old.iter().for_each(|t| draft.desire(&t.id, TaskState::Shutdown));
        }
    }

    /// Whether the slot's update is under way: until a known time, or until its task's state changes.
    fn busy(&self, draft: &Draft<'_>, slot: &Progress) -> Option<Option<i64>> {
        let first = slot.made.first()?;
        let settled_at = match first.state() {
            TaskState::Running => ran_since(first),
            state if state > TaskState::Running => status_at(first),
            _ if matches!(footing(draft, first), Footing::Firm) => return Some(None),
            _ => return None,
        };
        let until = settled_at
            .saturating_add(nanos(or_default(self.config.delay.as_ref(), Duration::ZERO)));
        (until > draft.now).then_some(Some(until))
    }

    fn start(&self, draft: &mut Draft<'_>, slot: &Progress) {
        if order(self.service, Some(&self.config)) == UpdateOrder::StartFirst {
            make_desired(draft, self.service, &slot.slot, TaskState::Running);
            return;
        }
        slot.old.iter().for_each(|t| draft.desire(&t.id, TaskState::Shutdown));
        let tasks = draft.tasks_of_service(&self.service.id);
        let waits = must_wait(draft, tasks.filter(|t| Slot::of(t) == slot.slot));
        make(draft, self.service, &slot.slot, waits);
    }

    fn finish(&self, draft: &mut Draft<'_>, slots: &[Progress], wake: &mut Wake) {
        let running = slots.iter().flat_map(|s| &s.made).filter(|t| !t.is_terminal());
        let last = running.map(ran_since).max().unwrap_or(self.started_at);
        let done_at = last.saturating_add(nanos(self.monitor()));
        if done_at > draft.now {
            return wake.at(done_at);
        }
        let (state, message) = if self.rolling_back {
            (UpdateState::RollbackCompleted, "rollback completed")
        } else {
            (UpdateState::UpdateCompleted, "update completed")
        };
        set_status(draft, self.service.clone(), state, message);
    }

    fn monitor(&self) -> Duration {
        or_default(self.config.monitor.as_ref(), DEFAULT_MONITOR)
    }

    /// A task that failed, if too many of this update's did.
    fn too_many_failures(&self, slots: &[Progress]) -> Option<String> {
        if !self.rolling_back && self.config.failure_action() == FailureAction::FailureContinue {
            return None;
        }
        let failed: Vec<&Task> =
            slots.iter().flat_map(|s| &s.made).filter(|t| self.failed(t)).collect();
        let total = slots.iter().filter(|s| s.is_dirty || !s.made.is_empty()).count().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a ratio of counts far below 2^24")]
        let ratio = failed.len() as f32 / total as f32;
        let too_many = ratio > self.config.max_failure_ratio;
        failed.last().filter(|_| too_many).map(|t| t.id.clone())
    }

    /// Ended by itself before it ran, or soon after.
    fn failed(&self, task: &Task) -> bool {
        let soon = || match task.start_after.as_ref() {
            None => true,
            Some(ran) => status_at(task).saturating_sub(to_nanos(ran)) <= nanos(self.monitor()),
        };
        died_by_itself(task) && (task.state() == TaskState::Rejected || soon())
    }

    fn fail(&self, draft: &mut Draft<'_>, task_id: &str) {
        let what = if self.rolling_back { "rollback" } else { "update" };
        let why = format!("due to failure or early termination of task {task_id}");
        let rolls_back =
            !self.rolling_back && self.config.failure_action() == FailureAction::FailureRollback;
        let mut service = self.service.clone();
        let previous = self.service.previous_spec.as_ref().filter(|_| rolls_back);
        if let Some(gone) = previous.and_then(|spec| reference::missing(draft, spec)) {
            let message = format!("update paused {why}; it cannot be rolled back: {gone}");
            return set_status(draft, service, UpdateState::UpdatePaused, &message);
        }
        if let Some(previous) = service.previous_spec.take_if(|_| rolls_back) {
            service.spec = Some(previous);
            service.spec_version = std::mem::take(&mut service.previous_spec_version);
            let message = format!("update rolled back {why}");
            return set_status(draft, service, UpdateState::RollbackStarted, &message);
        }
        let state = match self.rolling_back {
            true => UpdateState::RollbackPaused,
            false => UpdateState::UpdatePaused,
        };
        set_status(draft, service, state, &format!("{what} paused {why}"));
    }
}

/// Since when a running task runs.
fn ran_since(task: &Task) -> i64 {
    task.start_after.as_ref().map_or_else(|| status_at(task), to_nanos)
}
