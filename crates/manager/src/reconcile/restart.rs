//! Restarts: tasks that ended, or whose node was lost or drained, are let go and replaced in their slot as their restart
//! policy says. Also lets replacements run once their delay has passed and the old task has stopped.

use std::borrow::Borrow;
use std::time::Duration;

use swarm_api::time::{or_default, to_nanos};
use swarm_api::{
    RestartCondition, RestartPolicy, Service, Task, TaskState, UpdateConfig, UpdateOrder,
};

use super::birth::replace;
use super::clean::is_clean;
use super::draft::Draft;
use super::slot::{
    Footing, died_by_itself, footing, is_global, is_wanted, may_run, order, slots, status_at,
};
use super::wake::Wake;

/// Delay where the policy gives none.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
/// Grace period where the spec gives none.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// How long beyond its grace period a task may take to stop before its replacement runs nevertheless: a container that
/// the kernel does not let go must not hold its slot for ever.
const STOP_SLACK: Duration = Duration::from_secs(60);
/// The delay doubles with each death in a row, up to this many times.
const MAX_DOUBLINGS: usize = 6;
/// Longest delay that doubling leads to; a longer one that was configured stays.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// A task that ran this long was not crashing.
const STEADY: Duration = Duration::from_secs(60);

/// Lets go of tasks that ended or lost their node, and makes their replacements.
pub(super) fn restart(draft: &mut Draft<'_>, service: &Service, wake: &mut Wake) {
    let by_slot: Vec<Vec<Task>> = slots(draft, &service.id)
        .into_values()
        .filter(|tasks| tasks.iter().any(|t| needs_care(draft, t)))
        .map(|tasks| tasks.into_iter().cloned().collect())
        .collect();
    for tasks in by_slot {
        restart_slot(draft, service, &tasks, wake);
    }
}

fn needs_care(draft: &Draft<'_>, task: &Task) -> bool {
    let unsteady = footing(draft, task) != Footing::Firm;
    (is_wanted(task) && (task.is_terminal() || unsteady))
        || (!task.is_terminal() && footing(draft, task) == Footing::Gone)
}

fn restart_slot(draft: &mut Draft<'_>, service: &Service, tasks: &[Task], wake: &mut Wake) {
    let global = is_global(service);
    for task in tasks.iter().filter(|t| !t.is_terminal()) {
        if footing(draft, task) == Footing::Gone {
            draft.observe(&task.id, TaskState::Orphaned, "its node was removed from the swarm");
        }
    }
    let is_lost = |t: &Task| match footing(draft, t) {
        // A global task can run nowhere else: if its node comes back, it is still there.
        Footing::Down => !global,
        Footing::Gone => true,
        Footing::Firm | Footing::Draining => false,
    };
    let wanted: Vec<&Task> = tasks.iter().filter(|t| is_wanted(t)).collect();
    let (ended, living): (Vec<&Task>, Vec<&Task>) =
        wanted.into_iter().partition(|t| t.is_terminal() || is_lost(t));
    if living.is_empty()
        && let Some(at) = ended.last().and_then(|last| early_end(draft, last, tasks))
    {
        return wake.at(at);
    }
    for task in &ended {
        draft.desire(&task.id, TaskState::Shutdown);
    }
    if !living.is_empty() {
        drain_slot(draft, service, tasks, &living);
    } else if let Some(last) = ended.last()
        && should_restart(last, tasks)
        && (!global || footing(draft, last) == Footing::Firm)
    {
        let start_after = draft.now.saturating_add(delay_ns(draft, last, tasks));
        replace(draft, service, last, TaskState::Ready, Some(start_after));
    }
}

/// When the task was to start, if it ended before that: it failed while it was prepared, for want of its image perhaps.
/// Replaced only then, or its slot would spin as fast as preparing fails.
fn early_end(draft: &Draft<'_>, task: &Task, slot: &[Task]) -> Option<i64> {
    let due = task.start_after.as_ref().map(to_nanos).filter(|at| *at > draft.now)?;
    let spins =
        died_by_itself(task) && footing(draft, task) == Footing::Firm && should_restart(task, slot);
    spins.then_some(due)
}

/// Moves the slot off a drained node: the replacement comes first where the service updates so.
fn drain_slot(draft: &mut Draft<'_>, service: &Service, tasks: &[Task], living: &[&Task]) {
    let leaving = |t: &&&Task| footing(draft, t) == Footing::Draining;
    let draining: Vec<Task> = living.iter().filter(leaving).map(|t| Task::clone(t)).collect();
    let Some(last) = draining.last() else { return };
    let staying: Vec<&&Task> = living.iter().filter(|t| !leaving(t)).collect();
    let update: Option<&UpdateConfig> = service.spec.as_ref().and_then(|s| s.update.as_ref());
    let start_first = !is_global(service) && order(service, update) == UpdateOrder::StartFirst;
    let relieved = staying.iter().any(|t| t.state() == TaskState::Running);
    let moves = staying.is_empty() && !is_global(service) && should_restart(last, tasks);
    if !start_first || relieved || (staying.is_empty() && !moves) {
        draining.iter().for_each(|t| draft.desire(&t.id, TaskState::Shutdown));
    }
    if moves {
        let desired = if start_first { TaskState::Running } else { TaskState::Ready };
        replace(draft, service, last, desired, None);
    }
}

fn policy(task: &Task) -> RestartPolicy {
    task.spec.as_ref().and_then(|s| s.restart).unwrap_or_default()
}

/// Whether the end of `task` calls for another one in its slot, whose tasks are `slot`.
pub(super) fn should_restart<T: Borrow<Task>>(task: &Task, slot: &[T]) -> bool {
    let policy = policy(task);
    match policy.condition() {
        RestartCondition::None => return false,
        RestartCondition::OnFailure if task.state() == TaskState::Complete => return false,
        RestartCondition::OnFailure | RestartCondition::Any => {}
    }
    if policy.max_attempts == 0 || !died_by_itself(task) {
        return true;
    }
    let window = policy.window.as_ref().map(swarm_api::time::to_std).filter(|w| !w.is_zero());
    let since = window.map_or(i64::MIN, |w| status_at(task).saturating_sub(nanos(w)));
    let earlier = |t: &&Task| {
        t.id != task.id
            && t.spec_version == task.spec_version
            && died_by_itself(t)
            && status_at(t) >= since
    };
    (slot.iter().map(Borrow::borrow).filter(earlier).count() as u64) < policy.max_attempts
}

/// No delay for what was no fault of the task's; otherwise the policy's, doubled for each crash in a row before it.
fn delay_ns(draft: &Draft<'_>, task: &Task, slot: &[Task]) -> i64 {
    if !died_by_itself(task) || footing(draft, task) != Footing::Firm {
        return 0;
    }
    let base = or_default(policy(task).delay.as_ref(), DEFAULT_DELAY);
    let crashed = |t: &&Task| {
        let from = t.start_after.as_ref().map_or_else(|| draft.made_at(t), to_nanos);
        let lived = status_at(t).saturating_sub(from);
        t.id != task.id
            && t.spec_version == task.spec_version
            && matches!(t.state(), TaskState::Failed | TaskState::Rejected)
            && lived < nanos(STEADY.max(base * 2))
    };
    // Newest first, and only as long as one crash follows another. The first restart has the configured delay.
    let crashes = slot.iter().rev().filter(|t| t.id != task.id).take_while(crashed).count();
    let doubled = base.saturating_mul(1 << crashes.saturating_sub(1).min(MAX_DOUBLINGS));
    nanos(doubled.min(MAX_BACKOFF.max(base)))
}

/// Lets go of tasks that their slot does not need: it has at most one task as wanted on firm ground, and at most one
/// that such a task is to relieve. Others are left over from changes of mind (a drain taken back, an update overtaken).
pub(super) fn thin(draft: &mut Draft<'_>, service: &Service) {
    let mut surplus = Vec::new();
    for tasks in slots(draft, &service.id).values() {
        let living = tasks.iter().filter(|t| is_wanted(t) && !t.is_terminal());
        let mut living: Vec<&&Task> = living.collect();
        if living.len() < 2 {
            continue;
        }
        // Best last: it runs, or was made last.
        living.sort_by_key(|t| t.state() == TaskState::Running);
        let lasting =
            |t: &&&Task| footing(draft, t) == Footing::Firm && is_clean(draft, service, t);
        let (new, old): (Vec<&&Task>, Vec<&&Task>) = living.into_iter().partition(lasting);
        for mut group in [new, old] {
            group.pop();
            surplus.extend(group.into_iter().map(|t| t.id.clone()));
        }
    }
    surplus.iter().for_each(|id| draft.desire(id, TaskState::Shutdown));
}

/// Lets waiting replacements run: their delay is over, and what held their slot has stopped.
pub(super) fn promote(draft: &mut Draft<'_>, service: &Service, wake: &mut Wake) {
    let mut due = Vec::new();
    for tasks in slots(draft, &service.id).values() {
        let waiting = tasks
            .iter()
            .filter(|t| t.desired_state() == TaskState::Ready && !t.is_terminal() && is_wanted(t));
        for task in waiting {
            let free_at = tasks
                .iter()
                .filter(|t| !is_wanted(t) && may_run(draft, t))
                .map(|t| draft.made_at(task).saturating_add(stop_limit(t)))
                .max();
            let start_after = task.start_after.as_ref().map(to_nanos);
            match start_after.max(free_at) {
                Some(at) if at > draft.now => wake.at(at),
                _ => due.push(task.id.clone()),
            }
        }
    }
    due.iter().for_each(|id| draft.desire(id, TaskState::Running));
}

fn stop_limit(task: &Task) -> i64 {
    let container = task.spec.as_ref().and_then(|s| s.container.as_ref());
    let grace = or_default(container.and_then(|c| c.stop_grace_period.as_ref()), DEFAULT_GRACE);
    nanos(grace.saturating_add(STOP_SLACK))
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
