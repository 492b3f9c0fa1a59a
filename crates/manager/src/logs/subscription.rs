//! One reader's subscription: which nodes were asked for which tasks, which have answered, and what is missing.
//!
//! It decides only: the clock comes in, messages and gaps go out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_api::{
    LogMessage, LogOptions, LogSelector, Node, SubscribeLogsMessage, SubscriptionMessage, Task,
    TaskState,
};
use swarm_raft_store::View;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::listener::Listeners;

/// How long a node may take to (re)open its listening stream.
pub const LISTENER_WAIT: Duration = Duration::from_secs(2);
/// How long a node that was asked may be silent.
pub const SILENCE: Duration = Duration::from_secs(10);

/// What one node contributes.
struct Part {
    // Service by task.
    tasks: BTreeMap<String, String>,
    unasked: BTreeSet<String>,
    // It was asked before: what it had has been read, only what is new is wanted.
    resumed: bool,
    asked: bool,
    done: bool,
    missed: bool,
    since: Instant,
}

/// A reader's subscription.
pub struct Subscription {
    id: String,
    selector: LogSelector,
    options: LogOptions,
    sink: mpsc::Sender<SubscribeLogsMessage>,
    parts: BTreeMap<String, Part>,
    unscheduled: BTreeSet<String>,
}

impl Subscription {
    pub fn new(
        id: String,
        selector: LogSelector,
        options: LogOptions,
        sink: mpsc::Sender<SubscribeLogsMessage>,
    ) -> Self {
        let (parts, unscheduled) = (BTreeMap::new(), BTreeSet::new());
        Self { id, selector, options, sink, parts, unscheduled }
    }

    /// Where its messages go.
    pub fn sink(&self) -> mpsc::Sender<SubscribeLogsMessage> {
        self.sink.clone()
    }

    /// Takes in tasks of `view` that it does not know yet. Returns gaps.
    pub fn discover(&mut self, view: &View, now: Instant) -> Vec<String> {
        let mut gaps = Vec::new();
        for task in selected(view, &self.selector) {
            if task.node_id.is_empty() {
                if !self.options.follow && self.unscheduled.insert(task.id.clone()) {
                    gaps.push(format!("task {} has not been scheduled", task.full_name()));
                }
                continue;
            }
            if !self.is_readable(task) {
                continue;
            }
            let part = self.parts.entry(task.node_id.clone()).or_insert_with(|| Part::new(now));
            if part.tasks.insert(task.id.clone(), task.service_id.clone()).is_none() {
                part.unasked.insert(task.id.clone());
                part.since = now;
            }
        }
        gaps
    }

    /// A task that never ran has no log; one that is about to run will have one.
    fn is_readable(&self, task: &Task) -> bool {
        let started = task.state() >= TaskState::Starting && task.state() != TaskState::Rejected;
        started || (self.options.follow && !task.is_terminal())
    }

    /// Asks nodes that were not asked yet, gives up on those that do not answer. Returns gaps.
    pub fn advance(&mut self, listeners: &mut Listeners, view: &View, now: Instant) -> Vec<String> {
        let mut gaps = Vec::new();
        let follow = self.options.follow;
        // While the reader does not read, nobody else can be blamed for silence.
        let stalled = self.sink.capacity() == 0;
        for (node_id, part) in &mut self.parts {
            if !part.unasked.is_empty() {
                let message = part.question(&self.id, &self.options);
                if listeners.tell(node_id, message) {
                    part.asked_at(now);
                } else if !part.missed
                    && (is_down(view, node_id) || part.waited(now, LISTENER_WAIT))
                {
                    gaps.push(format!("node {} is not available", hostname(view, node_id)));
                    part.missed = true;
                    part.done = !follow;
                }
            } else if stalled {
                part.since = now;
            } else if !follow && !part.done && !listeners.has(node_id) {
                gaps.push(format!("node {} went away", hostname(view, node_id)));
                part.done = true;
            } else if !follow && !part.done && part.waited(now, SILENCE) {
                let waited = SILENCE.as_secs();
                let node = hostname(view, node_id);
                gaps.push(format!("node {node} did not answer within {waited} s"));
                part.done = true;
            }
        }
        gaps
    }

    /// Whether every node has said everything; never while it follows.
    pub fn is_finished(&self) -> bool {
        !self.options.follow && self.parts.values().all(|part| part.done)
    }

    /// A node listens anew: what it was asked before is forgotten there.
    pub fn listener_opened(&mut self, node_id: &str, now: Instant) {
        let follow = self.options.follow;
        let Some(part) = self.parts.get_mut(node_id) else { return };
        if follow && part.asked {
            part.unasked = part.tasks.keys().cloned().collect();
            part.resumed = true;
        }
        part.missed = false;
        part.since = now;
    }

    /// What `node_id` may publish of `messages`: lines of tasks that it was asked for, named by what is known here.
    pub fn accept(
        &mut self,
        node_id: &str,
        mut messages: Vec<LogMessage>,
        now: Instant,
    ) -> Option<Vec<LogMessage>> {
        let part = self.parts.get_mut(node_id)?;
        part.since = now;
        messages.retain_mut(|message| {
            let Some(context) = &mut message.context else { return false };
            let Some(service_id) = part.tasks.get(&context.task_id) else { return false };
            node_id.clone_into(&mut context.node_id);
            service_id.clone_into(&mut context.service_id);
            true
        });
        Some(messages)
    }

    /// The node has sent everything it has.
    pub fn finish(&mut self, node_id: &str) {
        if let Some(part) = self.parts.get_mut(node_id) {
            part.done = true;
        }
    }

    /// Tells the nodes that still read for it to stop.
    pub fn close(&self, listeners: &mut Listeners) {
        for (node_id, part) in &self.parts {
            if part.asked && !part.done {
                let id = self.id.clone();
                let close = SubscriptionMessage { id, close: true, ..Default::default() };
                listeners.tell(node_id, close);
            }
        }
    }
}

impl Part {
    fn new(now: Instant) -> Self {
        Self {
            tasks: BTreeMap::new(),
            unasked: BTreeSet::new(),
            resumed: false,
            asked: false,
            done: false,
            missed: false,
            since: now,
        }
    }

    fn waited(&self, now: Instant, limit: Duration) -> bool {
        now.duration_since(self.since) >= limit
    }

    fn question(&self, id: &str, options: &LogOptions) -> SubscriptionMessage {
        let mut options = options.clone();
        if self.resumed {
            options.tail = 0;
        }
        SubscriptionMessage {
            id: id.to_owned(),
            options: Some(options),
            task_ids: self.unasked.iter().cloned().collect(),
            close: false,
        }
    }

    fn asked_at(&mut self, now: Instant) {
        self.unasked.clear();
        self.asked = true;
        self.resumed = false;
        self.done = false;
        self.since = now;
    }
}

fn selected<'a>(view: &'a View, selector: &'a LogSelector) -> impl Iterator<Item = &'a Task> {
    let of_services = selector.service_ids.iter().flat_map(|id| view.tasks_of_service(id));
    let named = selector.task_ids.iter().filter_map(|id| view.get::<Task>(id));
    of_services.chain(named)
}

fn is_down(view: &View, node_id: &str) -> bool {
    view.get::<Node>(node_id).is_none_or(Node::is_down)
}

fn hostname(view: &View, node_id: &str) -> String {
    view.get::<Node>(node_id).map_or(node_id, Node::hostname).to_owned()
}
