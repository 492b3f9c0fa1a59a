//! At most one leader in a term.

use std::collections::BTreeMap;

use swarm_raft_store::simulation::Said;

use super::{Law, Look};

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl ElectionSafety {
    fn claim(&mut self, term: u64, raft_id: u64) -> Result<(), String> {
        match *self.leaders.entry(term).or_insert(raft_id) {
            first if first == raft_id => Ok(()),
            first => Err(format!("election safety: {first} and {raft_id} both lead term {term}")),
        }
    }
}

impl Law for ElectionSafety {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        match look.sight.leads {
            true => self.claim(look.sight.core_term, look.sight.raft_id),
            false => Ok(()),
        }
    }

    fn hear(&mut self, said: &Said) -> Result<(), String> {
        said.leader.map_or(Ok(()), |leader| self.claim(said.term, leader))
    }
}
