//! What one agent has been sent, and the difference to what it should have. Contents are remembered as digests only:
//! secrets are not kept a second time per agent.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use prost::Message;
use swarm_api::assignment_change::Action;
use swarm_api::assignments_message::Type;
use swarm_api::{Assignment, AssignmentChange, AssignmentsMessage, assignment};

use super::content::{Key, Part, bare};

/// Encoded bytes of one incremental message: well below what a receiver takes by default.
const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// State of one assignments stream.
#[derive(Debug, Default)]
pub(super) struct Sent {
    digests: BTreeMap<Key, u64>,
    version: u64,
}

impl Sent {
    /// Of a stream whose session has seen messages up to this version on another.
    pub(super) fn after(version: u64) -> Sent {
        Sent { version, ..Sent::default() }
    }

    /// Version of the last message.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The first message of a stream: all there is.
    pub(super) fn complete(&mut self, wanted: BTreeMap<Key, Assignment>) -> AssignmentsMessage {
        self.digests = wanted.iter().map(|(key, item)| (key.clone(), digest(item))).collect();
        self.version += 1;
        AssignmentsMessage {
            r#type: Type::Complete.into(),
            applies_to: 0,
            results_in: self.version,
            changes: wanted.into_values().map(update).collect(),
        }
    }

    /// What leads from what was sent to `wanted`, as far as `part` covers; nothing if nothing differs. Things come in the
    /// order of their use, and go in the opposite order.
    pub(super) fn incremental(
        &mut self,
        part: &Part,
        wanted: BTreeMap<Key, Assignment>,
    ) -> Vec<AssignmentsMessage> {
        let lost = |key: &&Key| part.covers(key) && !wanted.contains_key(*key);
        let gone: Vec<Key> = self.digests.keys().rev().filter(lost).cloned().collect();
        let mut changes = Vec::new();
        for (key, item) in wanted {
            let digest = digest(&item);
            if self.digests.insert(key, digest) != Some(digest) {
                changes.push(update(item));
            }
        }
        for key in gone {
            self.digests.remove(&key);
            let assignment = Some(bare(&key));
            changes.push(AssignmentChange { action: Action::Remove.into(), assignment });
        }
        self.messages(changes)
    }

    /// Whether the node's networks differ from those it was told of.
    pub(super) fn networks_differ(&self, wanted: &BTreeMap<Key, Assignment>) -> bool {
        let is_network = |key: &&Key| matches!(key, Key::Network(_));
        !self.digests.keys().filter(is_network).eq(wanted.keys().filter(is_network))
    }

    fn messages(&mut self, changes: Vec<AssignmentChange>) -> Vec<AssignmentsMessage> {
        let mut messages: Vec<AssignmentsMessage> = Vec::new();
        let mut room = 0;
        for change in changes {
            let size = change.encoded_len();
            if size > room || messages.is_empty() {
                messages.push(AssignmentsMessage {
                    r#type: Type::Incremental.into(),
                    applies_to: self.version,
                    results_in: self.version + 1,
                    changes: Vec::new(),
                });
                self.version += 1;
                room = MAX_MESSAGE_BYTES;
            }
            room = room.saturating_sub(size);
            if let Some(message) = messages.last_mut() {
                message.changes.push(change);
            }
        }
        messages
    }
}

fn update(assignment: Assignment) -> AssignmentChange {
    AssignmentChange { action: Action::Update.into(), assignment: Some(assignment) }
}

/// What agents report themselves is not sent back to them as a change, nor is what only managers look at.
fn digest(item: &Assignment) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &item.item {
        Some(assignment::Item::Task(task)) => {
            let mut task = task.clone();
            (task.meta, task.status, task.start_after) = (None, None, None);
            task.spec_version = 0;
            hasher.write(&task.encode_to_vec());
        }
        _ => hasher.write(&item.encode_to_vec()),
    }
    hasher.finish()
}
