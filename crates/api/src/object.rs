//! What every stored object has: an id, a meta and a kind. The store and the door treat all kinds alike through [`Stored`].

use crate::generated::{
    Annotations, Cluster, Config, Kind, Meta, Network, Node, Object, Secret, Service, Task,
    TaskState, object,
};

/// An object as the store keeps it.
pub trait Stored: Clone + PartialEq + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Kind in words, for messages.
    const NOUN: &'static str;

    /// Id, unique within the kind.
    fn id(&self) -> &str;
    /// Version and times; `None` only before the first write.
    fn meta(&self) -> Option<&Meta>;
    /// Where the store writes version and times.
    fn meta_mut(&mut self) -> &mut Option<Meta>;
    /// Name, unique within the kind; empty where the kind has none.
    fn name(&self) -> &str;
    /// Labels of the spec.
    fn labels(&self) -> Option<&std::collections::BTreeMap<String, String>>;
    /// Wrapped as an object of any kind.
    fn into_object(self) -> Object;
    /// Unwrapped, if it is of this kind.
    fn from_object(object: &Object) -> Option<&Self>;
    /// As [`Self::from_object`], to be changed in place.
    fn from_object_mut(object: &mut Object) -> Option<&mut Self>;

    /// Version index; 0 before the first write.
    fn version(&self) -> u64 {
        self.meta().and_then(|m| m.version).map_or(0, |v| v.index)
    }
}

fn name_of(annotations: Option<&Annotations>) -> &str {
    annotations.map_or("", |a| a.name.as_str())
}

macro_rules! stored {
    ($type:ident, $kind:ident, $noun:literal, $variant:ident, $annotations:expr) => {
        impl Stored for $type {
            const KIND: Kind = Kind::$kind;
            const NOUN: &'static str = $noun;

            fn id(&self) -> &str {
                &self.id
            }
            fn meta(&self) -> Option<&Meta> {
                self.meta.as_ref()
            }
            fn meta_mut(&mut self) -> &mut Option<Meta> {
                &mut self.meta
            }
            fn name(&self) -> &str {
                let annotations: fn(&Self) -> Option<&Annotations> = $annotations;
                name_of(annotations(self))
            }
            fn labels(&self) -> Option<&std::collections::BTreeMap<String, String>> {
                let annotations: fn(&Self) -> Option<&Annotations> = $annotations;
                annotations(self).map(|a| &a.labels)
            }
            fn into_object(self) -> Object {
                Object { object: Some(object::Object::$variant(Box::new(self))) }
            }
            fn from_object(object: &Object) -> Option<&Self> {
                match &object.object {
                    Some(object::Object::$variant(inner)) => Some(inner),
                    _ => None,
                }
            }
            fn from_object_mut(object: &mut Object) -> Option<&mut Self> {
                match &mut object.object {
                    Some(object::Object::$variant(inner)) => Some(inner),
                    _ => None,
                }
            }
        }
    };
}

stored!(Node, Node, "node", Node, |n| n.spec.as_ref()?.annotations.as_ref());
stored!(Service, Service, "service", Service, |s| s.spec.as_ref()?.annotations.as_ref());
// A task has no name of its own: it is named by its service and slot.
stored!(Task, Task, "task", Task, |_| None);
stored!(Network, Network, "network", Network, |n| n.spec.as_ref()?.annotations.as_ref());
stored!(Secret, Secret, "secret", Secret, |s| s.spec.as_ref()?.annotations.as_ref());
stored!(Config, Config, "config", Config, |c| c.spec.as_ref()?.annotations.as_ref());
stored!(Cluster, Cluster, "cluster", Cluster, |c| c.spec.as_ref()?.annotations.as_ref());

impl Task {
    /// State as the agent (or, before assignment, the manager) reports it.
    pub fn state(&self) -> TaskState {
        self.status.as_ref().map_or(TaskState::New, |s| s.state())
    }

    /// `service.slot`, or `service.nodeid` for a global service: what tables show.
    pub fn slot_name(&self) -> String {
        let service = name_of(self.service_annotations.as_ref());
        match self.slot {
            0 => format!("{service}.{}", self.node_id),
            slot => format!("{service}.{slot}"),
        }
    }

    /// `service.slot.taskid`: its container's name, and its name in DNS.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.slot_name(), self.id)
    }

    /// Whether it has come to its end; such a task never runs again.
    pub fn is_terminal(&self) -> bool {
        self.state() > TaskState::Running
    }
}

impl Node {
    /// Hostname as described by the node itself; its id before it ever registered.
    pub fn hostname(&self) -> &str {
        match &self.description {
            Some(d) if !d.hostname.is_empty() => &d.hostname,
            _ => &self.id,
        }
    }
}

impl Service {
    /// Name in the spec.
    pub fn spec_name(&self) -> &str {
        self.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_service_and_slot_or_node() {
        let annotations = Annotations { name: "web".into(), ..Annotations::default() };
        let mut task = Task { id: "t1".into(), slot: 3, node_id: "n1".into(), ..Task::default() };
        task.service_annotations = Some(annotations);
        assert_eq!(task.full_name(), "web.3.t1");
        task.slot = 0;
        assert_eq!(task.full_name(), "web.n1.t1");
    }

    #[test]
    fn an_object_of_any_kind_costs_no_more_than_its_own_kind() {
        assert!(size_of::<Object>() <= 16, "{} bytes", size_of::<Object>());
        let mut object = Task { id: "t1".into(), ..Task::default() }.into_object();
        Task::from_object_mut(&mut object).unwrap().slot = 7;
        assert_eq!(Task::from_object(&object).unwrap().slot, 7);
        assert!(Node::from_object_mut(&mut object).is_none());
    }

    #[test]
    fn task_states_compare_in_the_order_of_life() {
        assert!(TaskState::Assigned < TaskState::Accepted);
        assert!(TaskState::Running < TaskState::Complete);
    }
}
