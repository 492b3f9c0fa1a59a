//! What was committed stays: no replica ever knows another entry to be committed in its place, and
//! none cuts its log back behind what it knows to be committed.

use std::collections::BTreeMap;

use super::{Law, Look};

#[derive(Default)]
pub struct CommittedIsImmutable {
    /// Index to term and content.
    entries: BTreeMap<u64, (u64, u64)>,
}

impl Law for CommittedIsImmutable {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let Some((_, upto)) = look.sight.committed else { return Ok(()) };
        let name = look.host + 1;
        if look.sight.last.is_none_or(|(_, last)| last < upto) {
            let last = look.sight.last;
            return Err(format!(
                "committed is immutable: n{name} knows {upto} to be committed, but its log ends \
                 at {last:?}"
            ));
        }
        let before = look.before.sight.committed.map_or(0, |(_, index)| index);
        let anew = look.fresh.first().map_or(u64::MAX, |entry| entry.index);
        let from = anew.min(before + 1);
        for entry in look.log().iter().filter(|e| e.index >= from && e.index <= upto) {
            let this = (entry.term, entry.digest);
            let first = *self.entries.entry(entry.index).or_insert(this);
            if first != this {
                return Err(format!(
                    "committed is immutable: index {} was committed in term {}, but n{name} has \
                     it of term {}",
                    entry.index, first.0, entry.term
                ));
            }
        }
        Ok(())
    }
}
