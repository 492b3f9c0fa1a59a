//! How far a node has come with what it was to look at: from a change that concerns it, over the message that carries it,
//! to the node's word that its networks are as that message says. Pure.

use std::collections::VecDeque;

/// Of one session. Changes are counted, messages have versions; both only grow.
#[derive(Debug, Default)]
pub(super) struct Progress {
    touched: u64,
    sent: VecDeque<Sent>,
    version: u64,
    applied: u64,
}

/// With this message, the node was told of so many changes.
#[derive(Debug)]
struct Sent {
    version: u64,
    touched: u64,
}

impl Progress {
    /// Something concerns the node.
    pub(super) fn touch(&mut self) {
        self.touched += 1;
    }

    /// Changes so far.
    pub(super) fn touched(&self) -> u64 {
        self.touched
    }

    /// Version of the newest message.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The message of this version, and those before it, tell of the first so many changes.
    pub(super) fn sent(&mut self, version: u64, touched: u64) {
        self.version = self.version.max(version);
        self.sent.push_back(Sent { version: self.version, touched });
    }

    /// The node has applied this version. Returns how many changes are settled with it, if that is news.
    pub(super) fn applied(&mut self, version: u64) -> Option<u64> {
        // A node cannot have applied what it was not sent.
        self.applied = self.applied.max(version.min(self.version));
        self.settle()
    }

    /// Changes that have just been settled: they were in messages that the node has applied.
    pub(super) fn settle(&mut self) -> Option<u64> {
        let mut settled = None;
        while let Some(first) = self.sent.front().filter(|sent| sent.version <= self.applied) {
            settled = Some(first.touched);
            self.sent.pop_front();
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_settled_when_the_message_that_carries_it_is_applied() {
        let mut progress = Progress::default();
        progress.touch();
        progress.sent(1, 1);
        progress.touch();
        progress.touch();
        progress.sent(3, 3);
        assert_eq!(progress.applied(1), Some(1));
        assert_eq!(progress.applied(2), None);
        assert_eq!(progress.applied(3), Some(3));
        assert_eq!(progress.applied(3), None);
    }

    #[test]
    fn a_change_that_needed_no_message_is_settled_with_what_was_sent_before_it() {
        let mut progress = Progress::default();
        progress.sent(1, 0);
        progress.touch();
        progress.sent(progress.version(), 1);
        assert_eq!(progress.settle(), None, "the first message is not applied yet");
        assert_eq!(progress.applied(1), Some(1));
        progress.touch();
        progress.sent(progress.version(), 2);
        assert_eq!(progress.settle(), Some(2));
    }

    #[test]
    fn what_was_never_sent_cannot_have_been_applied() {
        let mut progress = Progress::default();
        progress.sent(1, 1);
        assert_eq!(progress.applied(9), Some(1));
        progress.sent(2, 2);
        assert_eq!(progress.settle(), None);
    }
}
