//! What a subscriber wants to hear of. Pure; used by [`crate::Subscription`].

use swarm_api::object::Stored;
use swarm_api::{Kind, Node, Object, Service, Task};

use crate::{Change, record};

/// Objects that all given fields fit; an empty field fits any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this id.
    pub id: String,
    /// Of this name.
    pub name: String,
    /// The service of this id, and its tasks.
    pub service_id: String,
    /// The node of this id, and the tasks assigned to it.
    pub node_id: String,
}

fn fits(wanted: &str, found: Option<&str>) -> bool {
    wanted.is_empty() || found == Some(wanted)
}

impl Selector {
    /// All objects of the kind.
    pub fn of_kind(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    /// Whether it is one of those objects.
    pub fn selects(&self, object: &Object) -> bool {
        let task = Task::from_object(object);
        let service = || Service::from_object(object).map(|s| &*s.id);
        let node = || Node::from_object(object).map(|n| &*n.id);
        self.kind.is_none_or(|kind| record::kind(object) == kind)
            && fits(&self.id, Some(record::id(object)))
            && fits(&self.name, Some(record::name(object)))
            && fits(&self.service_id, task.map(|t| &*t.service_id).or_else(service))
            && fits(&self.node_id, task.map(|t| &*t.node_id).or_else(node))
    }

    /// Whether it is one of those objects, or was one before the change.
    pub(crate) fn concerns(&self, change: &Change) -> bool {
        self.selects(&change.object) || change.old.as_deref().is_some_and(|old| self.selects(old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_given_fields_must_fit() {
        let (id, service_id, node_id) = ("t1".into(), "s1".into(), "n1".into());
        let task = Task { id, service_id, node_id, ..Task::default() }.into_object();
        let node = Node { id: "n1".into(), ..Node::default() }.into_object();
        let by_node = Selector { node_id: "n1".into(), ..Selector::default() };
        assert!(by_node.selects(&task) && by_node.selects(&node));
        let tasks = Selector { kind: Some(Kind::Task), ..by_node.clone() };
        assert!(tasks.selects(&task) && !tasks.selects(&node));
        let other = Selector { service_id: "s2".into(), ..by_node };
        assert!(!other.selects(&task) && !other.selects(&node));
        assert!(Selector::default().selects(&node));
        assert!(!Selector::of_kind(Kind::Unknown).selects(&node));
        assert!(!Selector { name: "web".into(), ..Selector::default() }.selects(&task));
    }
}
