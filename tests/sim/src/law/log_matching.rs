//! Entries of one index and term are equal in all logs, and so are those before them.

use std::collections::BTreeMap;

use super::{Law, Look};

#[derive(Default)]
pub struct LogMatching {
    /// Index and term to content.
    contents: BTreeMap<(u64, u64), u64>,
    /// Index and term to the term of the entry before.
    before: BTreeMap<(u64, u64), u64>,
}

impl Law for LogMatching {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        for entry in look.fresh {
            let key = (entry.index, entry.term);
            if *self.contents.entry(key).or_insert(entry.digest) != entry.digest {
                return Err(format!(
                    "log matching: n{} has another entry at index {}, term {} than others",
                    look.host + 1,
                    entry.index,
                    entry.term
                ));
            }
            let Some(previous) = entry.index.checked_sub(1).and_then(|at| look.entry(at)) else {
                continue;
            };
            let known = *self.before.entry(key).or_insert(previous.term);
            if known != previous.term {
                return Err(format!(
                    "log matching: before index {}, term {} comes term {} on n{}, but {known} on \
                     others",
                    entry.index,
                    entry.term,
                    previous.term,
                    look.host + 1
                ));
            }
        }
        Ok(())
    }
}
