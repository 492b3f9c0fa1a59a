//! What can be said of a stored object at a glance, so that it is said the same way everywhere.

use crate::generated::{Network, Node, NodeState};

impl Node {
    /// State as last declared; unknown before it ever registered.
    pub fn state(&self) -> NodeState {
        self.status.as_ref().map_or(NodeState::NodeUnknown, |s| s.state())
    }

    /// Declared down: nothing is known of its tasks.
    pub fn is_down(&self) -> bool {
        self.state() == NodeState::NodeDown
    }

    /// Registered and heard of.
    pub fn is_ready(&self) -> bool {
        self.state() == NodeState::NodeReady
    }
}

impl Network {
    /// Whether it carries the ports that are published on every node.
    pub fn is_ingress(&self) -> bool {
        self.spec.as_ref().is_some_and(|s| s.ingress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::NodeStatus;

    #[test]
    fn a_node_that_never_registered_is_neither_down_nor_ready() {
        let mut node = Node::default();
        assert!(!node.is_down() && !node.is_ready());
        node.status =
            Some(NodeStatus { state: NodeState::NodeDown.into(), ..NodeStatus::default() });
        assert!(node.is_down());
    }
}
