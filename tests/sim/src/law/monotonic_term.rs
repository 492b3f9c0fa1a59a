//! A replica's term never goes back and it never votes twice in a term, not even after its power
//! failed.

use std::collections::BTreeMap;

use super::{Law, Look};

#[derive(Default)]
pub struct MonotonicTerm {
    /// Host to term, candidate and whether that one is known to have won.
    votes: BTreeMap<usize, (u64, u64, bool)>,
}

impl Law for MonotonicTerm {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let vote = (look.sight.term, look.sight.voted_for, look.sight.vote_won);
        let before = self.votes.insert(look.host, vote).unwrap_or_default();
        let name = look.host + 1;
        if vote.0 < before.0 {
            return Err(format!(
                "monotonic term: n{name} was in term {} and is in term {} now",
                before.0, vote.0
            ));
        }
        // Following the one whom others elected is no vote.
        let follows = vote.2 && !before.2;
        if vote.0 == before.0 && before.1 != 0 && vote.1 != before.1 && !follows {
            return Err(format!(
                "monotonic term: n{name} voted for {} and for {} in term {}",
                before.1, vote.1, vote.0
            ));
        }
        Ok(())
    }

    fn forget(&mut self, host: usize) {
        self.votes.remove(&host);
    }
}
