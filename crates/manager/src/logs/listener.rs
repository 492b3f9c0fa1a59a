//! The agents that are listening for subscriptions.

use std::collections::HashMap;

use swarm_api::SubscriptionMessage;
use tokio::sync::mpsc;

/// Requests on their way to one agent; it takes each at once, so more means that it is stuck.
const QUEUE: usize = 256;

/// Open streams by node id. A new stream of a node ends its old one.
#[derive(Default)]
pub struct Listeners {
    nodes: HashMap<String, mpsc::Sender<SubscriptionMessage>>,
}

impl Listeners {
    /// The node listens from now on.
    pub fn open(&mut self, node_id: &str) -> mpsc::Receiver<SubscriptionMessage> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.nodes.insert(node_id.to_owned(), sender);
        receiver
    }

    /// Whether the message is on its way.
    pub fn tell(&mut self, node_id: &str, message: SubscriptionMessage) -> bool {
        let Some(sender) = self.nodes.get(node_id) else { return false };
        match sender.try_send(message) {
            Ok(()) => true,
            // Stuck or gone: as good as not there. Dropping the sender makes the agent connect anew.
            Err(_) => {
                self.nodes.remove(node_id);
                false
            }
        }
    }

    /// Whether the node listens.
    pub fn has(&self, node_id: &str) -> bool {
        self.nodes.get(node_id).is_some_and(|sender| !sender.is_closed())
    }
}
