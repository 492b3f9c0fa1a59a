//! Why this manager cannot serve, in words: what its way into the group says, else which managers do not answer and what the
//! user can do about it. Told with every request that finds no leader, and by `info`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_api::Node;
use swarm_raft_store::{Replica, quorum};
use tokio::sync::watch;

/// How the last call to each peer ended, by node id. Clones share it.
#[derive(Clone, Default)]
pub struct Contacts(Arc<Mutex<BTreeMap<String, Silence>>>);

/// A peer that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Silence {
    addr: String,
    reason: String,
}

impl Contacts {
    /// A call to the peer at `addr` begins.
    pub fn call(&self, node_id: &str, addr: String) -> Call {
        Call { contacts: self.clone(), node_id: node_id.to_owned(), addr, ended: false }
    }

    fn answered(&self, node_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node_id);
    }

    fn silent(&self, node_id: &str, addr: &str, reason: &str) {
        let silence = Silence { addr: addr.to_owned(), reason: reason.to_owned() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(node_id.to_owned(), silence);
    }

    /// Whoever gives up waiting knows less than a reason that is known for this address.
    fn late(&self, node_id: &str, addr: &str) {
        if self.of(node_id).is_none_or(|silence| silence.addr != addr) {
            self.silent(node_id, addr, "no answer in time");
        }
    }

    fn of(&self, node_id: &str) -> Option<Silence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node_id).cloned()
    }
}

/// A call to a peer under way. Dropped before its end, the peer was too slow.
pub struct Call {
    contacts: Contacts,
    node_id: String,
    addr: String,
    ended: bool,
}

impl Call {
    /// The peer answered.
    pub fn answered(mut self) {
        self.ended = true;
        self.contacts.answered(&self.node_id);
    }

    /// It did not, for this reason. Returns the address it was called at.
    pub fn failed(mut self, reason: &str) -> String {
        self.ended = true;
        self.contacts.silent(&self.node_id, &self.addr, reason);
        std::mem::take(&mut self.addr)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.contacts.late(&self.node_id, &self.addr);
        }
    }
}

/// What stands between this manager and a leader.
#[derive(Clone)]
pub struct Obstacle {
    pub replica: Replica,
    pub contacts: Contacts,
    /// What keeps it out of the group; `None` once it is in.
    pub entry: watch::Receiver<Option<String>>,
    pub fatal: watch::Receiver<Option<String>>,
}

impl Obstacle {
    /// In one line.
    pub fn say(&self) -> String {
        let failed = self.fatal.borrow().clone();
        let outside = failed.or_else(|| self.entry.borrow().clone());
        outside.unwrap_or_else(|| self.silence())
    }

    fn silence(&self) -> String {
        let group = self.replica.group().borrow().clone();
        let view = self.replica.store().view();
        let silent: Vec<String> = group
            .iter()
            .filter_map(|member| {
                let Silence { addr, reason } = self.contacts.of(&member.node_id)?;
                let name = view.get::<Node>(&member.node_id).map_or("", Node::hostname);
                let name = if name.is_empty() { &member.node_id } else { name };
                Some(format!("{name} at {addr}: {reason}"))
            })
            .collect();
        describe(group.len(), &silent)
    }
}

fn describe(managers: usize, silent: &[String]) -> String {
    if silent.is_empty() {
        return "an election is under way".into();
    }
    format!(
        "{} of {managers} managers answer and {} are needed; no answer from {}; if one has another \
         address now, name it with 'swarmctl reach ADDRESS'",
        managers.saturating_sub(silent.len()),
        quorum(managers),
        silent.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_named_with_address_and_reason_and_a_way_out() {
        let silent = ["m2 at a:1: connection refused".to_owned(), "m3 at b:1: timed out".into()];
        let said = describe(3, &silent);
        assert_eq!(
            said,
            "1 of 3 managers answer and 2 are needed; no answer from m2 at a:1: connection \
             refused, m3 at b:1: timed out; if one has another address now, name it with 'swarmctl \
             reach ADDRESS'"
        );
        assert_eq!(describe(1, &[]), "an election is under way");
    }

    #[test]
    fn a_peer_that_answers_again_is_not_silent_any_more() {
        let contacts = Contacts::default();
        let call = || contacts.call("m2", "a:1".into());
        let reason = || contacts.of("m2").map(|silence| silence.reason);
        drop(call());
        assert_eq!(reason().as_deref(), Some("no answer in time"));
        assert_eq!(call().failed("refused"), "a:1");
        drop(call());
        assert_eq!(reason().as_deref(), Some("refused"));
        call().answered();
        assert_eq!(reason(), None);
    }
}
