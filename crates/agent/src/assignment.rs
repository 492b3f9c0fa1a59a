//! What managers have given this node: a map that the dispatcher's stream replaces (COMPLETE) or changes (INCREMENTAL).
//! Pure: the session feeds it, worker and networks read snapshots of it. Secrets in it live in memory only.

use std::collections::{BTreeMap, BTreeSet};

use swarm_api::assignment::Item;
use swarm_api::assignment_change::Action;
use swarm_api::assignments_message::Type;
use swarm_api::{AssignmentsMessage, EndpointAssignment, NetworkAssignment, PeerAssignment, Task};
use zeroize::Zeroizing;

/// Bytes of a secret or config; wiped when the last holder lets go.
pub type Data = Zeroizing<Vec<u8>>;

/// The stream does not continue what this node has: it must be asked anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("assignments apply to version {applies_to}, this node has {have}")]
pub struct BrokenChain {
    /// Version that the message continues.
    pub applies_to: u64,
    /// Version that the node has.
    pub have: u64,
}

/// Everything assigned to this node, by id.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    /// Session that the version is of.
    pub session: String,
    /// Version of the last message applied.
    pub version: u64,
    /// Tasks that run, or are to run or stop, here.
    pub tasks: BTreeMap<String, Task>,
    /// Networks that those tasks need, and the ingress network.
    pub networks: BTreeMap<String, NetworkAssignment>,
    /// Services on those networks.
    pub endpoints: BTreeMap<String, EndpointAssignment>,
    /// The other nodes of the cluster.
    pub peers: BTreeMap<String, PeerAssignment>,
    /// Secrets of those tasks.
    pub secrets: BTreeMap<String, Data>,
    /// Configs of those tasks.
    pub configs: BTreeMap<String, Data>,
}

impl Assignments {
    /// Applies one message. On a broken chain nothing changes.
    pub fn apply(&mut self, message: AssignmentsMessage) -> Result<(), BrokenChain> {
        match message.r#type() {
            Type::Complete => {
                let session = std::mem::take(&mut self.session);
                *self = Self { session, ..Self::default() };
            }
            Type::Incremental if message.applies_to != self.version => {
                return Err(BrokenChain { applies_to: message.applies_to, have: self.version });
            }
            Type::Incremental => {}
        }
        for change in message.changes {
            let action = change.action();
            let Some(item) = change.assignment.and_then(|a| a.item) else { continue };
            match action {
                Action::Update => self.put(item),
                Action::Remove => self.take(&item),
            }
        }
        self.version = message.results_in;
        Ok(())
    }

    fn put(&mut self, item: Item) {
        match item {
            Item::Task(task) => drop(self.tasks.insert(task.id.clone(), task)),
            Item::Secret(s) => drop(self.secrets.insert(s.id, Zeroizing::new(s.data))),
            Item::Config(c) => drop(self.configs.insert(c.id, Zeroizing::new(c.data))),
            Item::Network(n) => drop(self.networks.insert(n.id.clone(), n)),
            Item::Endpoint(e) => drop(self.endpoints.insert(e.id.clone(), e)),
            Item::Peer(p) => drop(self.peers.insert(p.id.clone(), p)),
        }
    }

    fn take(&mut self, item: &Item) {
        match item {
            Item::Task(task) => drop(self.tasks.remove(&task.id)),
            Item::Secret(s) => drop(self.secrets.remove(&s.id)),
            Item::Config(c) => drop(self.configs.remove(&c.id)),
            Item::Network(n) => drop(self.networks.remove(&n.id)),
            Item::Endpoint(e) => drop(self.endpoints.remove(&e.id)),
            Item::Peer(p) => drop(self.peers.remove(&p.id)),
        }
    }

    /// Services on one network.
    pub fn endpoints_on<'a>(
        &'a self,
        network_id: &'a str,
    ) -> impl Iterator<Item = &'a EndpointAssignment> {
        self.endpoints.values().filter(move |e| e.network_id == network_id)
    }

    /// Networks that the given tasks are attached to.
    pub fn networks_of<'a>(tasks: impl Iterator<Item = &'a Task>) -> BTreeSet<&'a str> {
        tasks.flat_map(|t| t.networks.iter().map(|n| n.network_id.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_api::{Assignment, AssignmentChange};

    fn message(kind: Type, versions: (u64, u64), tasks: &[(&str, Action)]) -> AssignmentsMessage {
        let change = |(id, action): &(&str, Action)| AssignmentChange {
            action: (*action).into(),
            assignment: Some(Assignment {
                item: Some(Item::Task(Task { id: (*id).into(), ..Task::default() })),
            }),
        };
        AssignmentsMessage {
            r#type: kind.into(),
            applies_to: versions.0,
            results_in: versions.1,
            changes: tasks.iter().map(change).collect(),
        }
    }

    #[test]
    fn a_complete_message_replaces_everything() {
        let mut set = Assignments::default();
        set.apply(message(Type::Complete, (0, 1), &[("a", Action::Update)])).unwrap();
        set.apply(message(Type::Complete, (0, 5), &[("b", Action::Update)])).unwrap();
        assert_eq!(set.tasks.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_break_in_the_chain_changes_nothing_and_is_told() {
        let mut set = Assignments::default();
        set.apply(message(Type::Complete, (0, 1), &[("a", Action::Update)])).unwrap();
        let broken = set.apply(message(Type::Incremental, (2, 3), &[("a", Action::Remove)]));
        assert_eq!(broken, Err(BrokenChain { applies_to: 2, have: 1 }));
        assert!(set.tasks.contains_key("a"));
        set.apply(message(Type::Incremental, (1, 2), &[("a", Action::Remove)])).unwrap();
        assert!(set.tasks.is_empty());
    }
}
