//! What a pass wants written, and when it wants to run again. Applied by `runner` inside the store's transaction.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use swarm_api::{Network, Node, Service, Task};
use swarm_raft_store::{StoreError, Transaction, View};

use super::draft::Draft;
use crate::budget::Budget;

/// Outcome of a pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Networks to replace.
    pub networks: Vec<Network>,
    /// Nodes to replace.
    pub nodes: Vec<Node>,
    /// Services to replace.
    pub services: Vec<Service>,
    /// Tasks to make.
    pub made: Vec<Task>,
    /// Tasks to replace.
    pub changed: Vec<Task>,
    /// Ids of tasks to remove.
    pub removed: Vec<String>,
    /// Per service looked at: when it must be looked at again though nothing changes, nanoseconds since the epoch.
    pub wakes: BTreeMap<String, Option<i64>>,
    /// Services looked at of which tasks wait for a node or an address.
    pub waiting: BTreeSet<String>,
}

impl Plan {
    pub(super) fn of(
        draft: Draft<'_>,
        wakes: BTreeMap<String, Option<i64>>,
        waiting: BTreeSet<String>,
    ) -> Plan {
        let view = draft.view;
        let mut plan = Plan {
            networks: draft.networks.into_values().filter(|n| view.get(&n.id) != Some(n)).collect(),
            nodes: draft.nodes.into_values().filter(|n| view.get(&n.id) != Some(n)).collect(),
            services: draft.services.into_values().filter(|s| view.get(&s.id) != Some(s)).collect(),
            wakes,
            waiting,
            ..Plan::default()
        };
        for (id, task) in draft.tasks {
            plan.note_task(view, id, task);
        }
        plan
    }

    fn note_task(&mut self, view: &View, id: String, task: Option<Task>) {
        match (view.get::<Task>(&id), task) {
            (None, None) => {}
            (Some(_), None) => self.removed.push(id),
            (None, Some(task)) => self.made.push(task),
            (Some(before), Some(task)) if *before != task => self.changed.push(task),
            (Some(_), Some(_)) => {}
        }
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
            && self.nodes.is_empty()
            && self.services.is_empty()
            && self.made.is_empty()
            && self.changed.is_empty()
            && self.removed.is_empty()
    }

    /// The earliest time at which a pass must run though nothing changes.
    pub fn wake_at(&self) -> Option<i64> {
        self.wakes.values().flatten().min().copied()
    }

    /// Writes it. Returns whether all of it fitted into one commit; the next pass then finds what is left.
    ///
    /// What tasks refer to is written before them, so a plan that is cut off leaves no address referred to by a task
    /// but held by nobody; each task by itself is whole.
    pub fn apply(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        let mut budget = Budget::new();
        let mut fits = |size: usize| budget.take(size);
        for network in &self.networks {
            if !fits(network.encoded_len()) {
                return Ok(false);
            }
            tx.update(network.clone())?;
        }
        for node in &self.nodes {
            if !fits(node.encoded_len()) {
                return Ok(false);
            }
            tx.update(node.clone())?;
        }
        for service in &self.services {
            if !fits(service.encoded_len()) {
                return Ok(false);
            }
            tx.update(service.clone())?;
        }
        for id in &self.removed {
            if !fits(id.len() * 2) {
                return Ok(false);
            }
            tx.remove::<Task>(id)?;
        }
        for task in &self.changed {
            if !fits(task.encoded_len()) {
                return Ok(false);
            }
            tx.update(task.clone())?;
        }
        for task in &self.made {
            if !fits(task.encoded_len()) {
                return Ok(false);
            }
            tx.create(task.clone())?;
        }
        Ok(true)
    }
}
