//! What was committed in a term is in the log of every leader of a later one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Law, Look};

#[derive(Default)]
pub struct LeaderCompleteness {
    /// Index to the entry's term and the earliest term in which it was known to be committed.
    committed: BTreeMap<u64, (u64, u64)>,
    /// Terms whose leader was looked at.
    checked: BTreeSet<u64>,
}

impl Law for LeaderCompleteness {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let term = look.sight.core_term;
        if look.sight.leads && self.checked.insert(term) {
            self.check(look, term)?;
        }
        let Some((_, upto)) = look.sight.committed else { return Ok(()) };
        let known = look.before.sight.committed.map_or(0, |(_, index)| index);
        for entry in look.log().iter().filter(|e| e.index <= upto && e.index >= known) {
            let (_, since) = self.committed.entry(entry.index).or_insert((entry.term, term));
            *since = term.min(*since);
        }
        Ok(())
    }
}

impl LeaderCompleteness {
    fn check(&self, look: &Look<'_>, term: u64) -> Result<(), String> {
        let purged = look.sight.purged.map_or(0, |(_, index)| index);
        for (index, (of, since)) in &self.committed {
            let owed = *since < term && *index > purged;
            if owed && look.entry(*index).is_none_or(|entry| entry.term != *of) {
                return Err(format!(
                    "leader completeness: n{} leads term {term} without the entry {index} of term \
                     {of}, committed in term {since}",
                    look.host + 1
                ));
            }
        }
        Ok(())
    }
}
