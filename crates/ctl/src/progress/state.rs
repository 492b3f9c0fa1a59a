//! Where a service is on its way to its spec: a pure function of what the manager says and of the
//! time since the wait began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_api::{
    RestartCondition, RestartPolicy, Service, ServiceCounts, Task, TaskState, UpdateState,
    service_spec,
};

use crate::tasks::reason;

/// How long tasks must run before they count, unless the service says otherwise.
const MONITOR: Duration = Duration::from_secs(5);
/// The manager watches as long as we do; it may be a little later.
const GRACE: Duration = Duration::from_secs(2);
/// The manager may not yet have made the tasks of a global service.
const EMPTY_GLOBAL: Duration = Duration::from_secs(2);

/// What the manager says at one moment.
pub struct Facts<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its counts.
    pub counts: ServiceCounts,
    /// Its tasks of the present spec version.
    pub tasks: &'a [&'a Task],
    /// Since the wait began.
    pub now: Duration,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// Not all tasks run.
    #[default]
    Working,
    /// All run; they must go on for so long.
    Stabilizing {
        /// Still to wait.
        left: Duration,
        /// To wait in all.
        total: Duration,
    },
    /// As asked.
    Done,
    /// It will not get there by itself.
    Failed(String),
}

impl Verdict {
    /// Whether the wait is over.
    pub fn is_final(&self) -> bool {
        matches!(self, Verdict::Done | Verdict::Failed(_))
    }
}

/// One slot: a numbered one, or a node's.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Slot number or node id.
    pub label: String,
    /// State of its present task.
    pub state: TaskState,
    /// Why the task is not running.
    pub why: String,
}

/// The situation at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Tasks as asked, and tasks wanted.
    pub overall: (u64, u64),
    /// The former spec is being restored.
    pub rolling_back: bool,
    /// Every slot.
    pub slots: Vec<Slot>,
    /// What happened since the last step, in words.
    pub news: Vec<String>,
    /// How far it is.
    pub verdict: Verdict,
}

impl Step {
    /// Different reasons of the slots that do not run, for one line.
    pub fn reasons(&self) -> String {
        let why: BTreeSet<&str> =
            self.slots.iter().map(|s| s.why.as_str()).filter(|w| !w.is_empty()).collect();
        match why.is_empty() {
            true => String::new(),
            false => format!(": {}", why.into_iter().collect::<Vec<_>>().join("; ")),
        }
    }
}

/// What is remembered from step to step.
#[derive(Debug)]
pub struct Course {
    rollback_asked: bool,
    verify: bool,
    max_failures: Option<usize>,
    stable_since: Option<Duration>,
    rolling_back: bool,
    /// Why, in the manager's words; its next message is only that it is done.
    rollback_why: String,
    /// Failures that were told: a slot that fails the same way again is no news.
    told: BTreeSet<String>,
}

type Slots<'a> = BTreeMap<(u64, &'a str), Vec<&'a Task>>;

impl Course {
    /// A new wait; with `verify` the tasks must go on running for the service's monitor period.
    pub fn new(rollback_asked: bool, verify: bool, max_failures: Option<usize>) -> Self {
        Course {
            rollback_asked,
            verify,
            max_failures,
            stable_since: None,
            rolling_back: rollback_asked,
            rollback_why: String::new(),
            told: BTreeSet::new(),
        }
    }

    /// The situation that `facts` describe.
    pub fn advance(&mut self, facts: &Facts<'_>) -> Step {
        let slots = by_slot(facts.tasks);
        let restart = restart_policy(facts.service);
        let wanted = match mode(facts.service) {
            Some(service_spec::Mode::Replicated(replicated)) => replicated.replicas,
            _ => facts.counts.desired,
        };
        let mut news = self.failures(facts.tasks);
        let done = slots.values().filter(|tasks| is_done(tasks, &restart)).count() as u64;
        let all_done = done >= wanted;
        let verdict = self
            .ended(facts.service, all_done, &mut news)
            .or_else(|| gave_up(&slots, &restart, self.max_failures))
            .unwrap_or_else(|| self.stability(facts, wanted, all_done, &mut news));
        Step {
            overall: (done.min(wanted), wanted),
            rolling_back: self.rolling_back,
            slots: slots.iter().map(|((n, node), tasks)| slot(*n, node, tasks)).collect(),
            news,
            verdict,
        }
    }

    /// Tasks that failed and were not told yet.
    fn failures(&mut self, tasks: &[&Task]) -> Vec<String> {
        let mut news = Vec::new();
        for task in tasks.iter().filter(|t| has_failed(t)) {
            let text = format!("{}: {}", task.slot_name(), failure(task));
            if self.told.insert(text.clone()) {
                news.push(text);
            }
        }
        news
    }

    /// The end, if the manager says that an update or rollback came to it.
    fn ended(&mut self, service: &Service, done: bool, news: &mut Vec<String>) -> Option<Verdict> {
        let status = service.update_status.as_ref()?;
        let message = &status.message;
        match status.state() {
            UpdateState::UpdatePaused => Some(self.stopped("service update paused", message)),
            UpdateState::RollbackPaused => Some(self.stopped("service rollback paused", message)),
            UpdateState::RollbackStarted => {
                if !self.rolling_back {
                    news.push(format!("service rolls back: {message}"));
                }
                self.rolling_back = true;
                self.rollback_why.clone_from(message);
                None
            }
            UpdateState::RollbackCompleted if self.rollback_asked => done.then_some(Verdict::Done),
            UpdateState::RollbackCompleted => {
                // Seen only once it was done: then there is no more to say than that.
                let why = if self.rollback_why.is_empty() { message } else { &self.rollback_why };
                Some(self.stopped("service rolled back", why))
            }
            UpdateState::UpdateCompleted => done.then_some(Verdict::Done),
            UpdateState::Updating | UpdateState::UpdateNone => None,
        }
    }

    /// The end of an update that failed, with what made it fail.
    fn stopped(&self, how: &str, message: &str) -> Verdict {
        let failures: String = self.told.iter().map(|text| format!("; {text}")).collect();
        Verdict::Failed(format!("{how}: {message}{failures}"))
    }

    /// All must run for the service's monitor period.
    fn stability(
        &mut self,
        facts: &Facts<'_>,
        wanted: u64,
        all_done: bool,
        news: &mut Vec<String>,
    ) -> Verdict {
        if !all_done {
            if self.stable_since.take().is_some() {
                news.push("Detected task failure".into());
            }
            return Verdict::Working;
        }
        let global = !matches!(mode(facts.service), Some(service_spec::Mode::Replicated(_)));
        let total = match wanted {
            _ if !self.verify => Duration::ZERO,
            0 if global => EMPTY_GLOBAL,
            0 => Duration::ZERO,
            _ => monitor(facts.service, self.rolling_back),
        };
        let since = *self.stable_since.get_or_insert(facts.now);
        let passed = facts.now.saturating_sub(since);
        let updating = facts.service.update_status.as_ref().is_some_and(|s| {
            matches!(s.state(), UpdateState::Updating | UpdateState::RollbackStarted)
        });
        let needed = if updating && !total.is_zero() { total + GRACE } else { total };
        match passed >= needed {
            true => Verdict::Done,
            false => Verdict::Stabilizing { left: total.saturating_sub(passed), total },
        }
    }
}

fn mode(service: &Service) -> Option<&service_spec::Mode> {
    service.spec.as_ref()?.mode.as_ref()
}

fn restart_policy(service: &Service) -> RestartPolicy {
    let task = service.spec.as_ref().and_then(|s| s.task.as_ref());
    task.and_then(|t| t.restart).unwrap_or_default()
}

fn monitor(service: &Service, rolling_back: bool) -> Duration {
    let spec = service.spec.as_ref();
    let config =
        spec.and_then(|s| if rolling_back { s.rollback.as_ref() } else { s.update.as_ref() });
    swarm_api::time::or_default(config.and_then(|c| c.monitor.as_ref()), MONITOR)
}

/// Newest first in each slot. Tasks that are only still there until they are removed do not count.
fn by_slot<'a>(tasks: &[&'a Task]) -> Slots<'a> {
    let mut slots = Slots::new();
    for task in tasks.iter().filter(|t| t.desired_state() < TaskState::Remove) {
        let node = if task.slot == 0 { task.node_id.as_str() } else { "" };
        slots.entry((task.slot, node)).or_default().push(task);
    }
    // A slot that was taken back by scaling has no task that is to run, but may have history.
    for tasks in slots.values_mut() {
        tasks.sort_by_key(|t| {
            let made = t.meta.as_ref().and_then(|m| m.created_at);
            let made = made.map_or(0, |at| swarm_api::time::to_nanos(&at));
            (t.desired_state() > TaskState::Complete, std::cmp::Reverse(made))
        });
    }
    slots
}

fn has_failed(task: &Task) -> bool {
    matches!(task.state(), TaskState::Failed | TaskState::Rejected | TaskState::Orphaned)
}

/// Why a failed task failed, in words.
fn failure(task: &Task) -> String {
    let state = crate::shape::task::state(task.state());
    match reason(task) {
        "" => state.to_owned(),
        why => format!("{state}: {why}"),
    }
}

/// Whether the slot's task runs, or has ended as it should.
fn is_done(tasks: &[&Task], restart: &RestartPolicy) -> bool {
    let Some(task) = tasks.first() else { return false };
    match task.state() {
        TaskState::Running => task.desired_state() == TaskState::Running,
        TaskState::Complete => restart.condition() != RestartCondition::Any,
        _ => false,
    }
}

/// A slot that no task will come to any more, or one that failed too often.
fn gave_up(
    slots: &Slots<'_>,
    restart: &RestartPolicy,
    max_failures: Option<usize>,
) -> Option<Verdict> {
    for tasks in slots.values() {
        let Some(last) = tasks.first() else { continue };
        let ended = tasks.iter().filter(|t| t.is_terminal()).count();
        let failed: Vec<_> = tasks.iter().filter(|t| has_failed(t)).collect();
        let running = last.state() == TaskState::Running;
        let dead = tasks.iter().all(|t| t.is_terminal()) && has_failed(last);
        let attempts = usize::try_from(restart.max_attempts).unwrap_or(usize::MAX);
        let why = |task: &Task| format!("{}: {}", task.slot_name(), failure(task));
        if dead && restart.condition() == RestartCondition::None {
            let text = format!("{} (the restart condition is none)", why(last));
            return Some(Verdict::Failed(text));
        }
        if dead && attempts > 0 && ended > attempts {
            let text = format!("{} (no restart after {attempts} attempts)", why(last));
            return Some(Verdict::Failed(text));
        }
        if let (Some(most), Some(newest)) = (max_failures, failed.first())
            && !running
            && failed.len() >= most
        {
            let text =
                format!("{} ({} times; it is still being retried)", why(newest), failed.len());
            return Some(Verdict::Failed(text));
        }
    }
    None
}

fn slot(number: u64, node: &str, tasks: &[&Task]) -> Slot {
    let label =
        if number == 0 { swarm_api::id::short(node).to_owned() } else { number.to_string() };
    let task = tasks.first();
    let state = task.map_or(TaskState::New, |t| t.state());
    let mut why = task.map_or("", |t| reason(t)).to_owned();
    // The present task may be fine so far, the one before it tells why there is a new one.
    if why.is_empty()
        && state < TaskState::Running
        && let Some(before) = tasks.iter().skip(1).find(|t| has_failed(t))
    {
        why = failure(before);
    }
    Slot { label, state, why }
}

#[cfg(test)]
mod tests;
