//! What must always hold, one law per file. A law is told what is seen, remembers what it needs,
//! and says what is wrong. None is ever weakened to let a run pass.

use swarm_raft_store::View;
use swarm_raft_store::simulation::{Entry, Said, Sight};

use crate::host::Seen;

mod committed_is_immutable;
mod election_safety;
mod leader_completeness;
mod log_matching;
mod monotonic_progress;
mod monotonic_term;
mod state_machine_safety;
mod task_states;
#[cfg(test)]
mod tests;
mod unique_names;
mod version_monotonic;

/// What a replica shows at one moment.
pub struct Look<'a> {
    pub host: usize,
    /// What this life showed before, with its log as it is now.
    pub before: &'a Seen,
    pub sight: &'a Sight,
    /// Entries of its log that were not seen there before.
    pub fresh: &'a [Entry],
    pub view: &'a View,
    /// Of the tables; `None`: as before.
    pub digest: Option<u64>,
}

impl Look<'_> {
    /// Its log, so far as it is in memory.
    pub fn log(&self) -> &[Entry] {
        &self.before.log
    }

    /// The entry at an index, if it is in memory.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let first = self.log().first()?.index;
        self.log().get(usize::try_from(index.checked_sub(first)?).ok()?)
    }
}

/// One law.
trait Law: Send {
    /// A replica showed this.
    fn look(&mut self, look: &Look<'_>) -> Result<(), String>;

    /// A replica sent this.
    fn hear(&mut self, _said: &Said) -> Result<(), String> {
        Ok(())
    }

    /// A host's disk was taken away: it owes nothing to what it promised before.
    fn forget(&mut self, _host: usize) {}
}

/// All of them.
pub struct Laws(Vec<Box<dyn Law>>);

impl Default for Laws {
    fn default() -> Self {
        Self(vec![
            Box::<election_safety::ElectionSafety>::default(),
            Box::<log_matching::LogMatching>::default(),
            Box::<leader_completeness::LeaderCompleteness>::default(),
            Box::<state_machine_safety::StateMachineSafety>::default(),
            Box::<committed_is_immutable::CommittedIsImmutable>::default(),
            Box::<monotonic_term::MonotonicTerm>::default(),
            Box::<monotonic_progress::MonotonicProgress>::default(),
            Box::<unique_names::UniqueNames>::default(),
            Box::<version_monotonic::VersionMonotonic>::default(),
            Box::<task_states::TaskStates>::default(),
        ])
    }
}

impl Laws {
    pub fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|law| law.look(look))
    }

    pub fn hear(&mut self, said: &Said) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|law| law.hear(said))
    }

    pub fn forget(&mut self, host: usize) {
        self.0.iter_mut().for_each(|law| law.forget(host));
    }
}
