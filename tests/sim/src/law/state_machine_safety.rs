//! All replicas hold the same tables at the same version, however they came to it.

use std::collections::BTreeMap;

use super::{Law, Look};

#[derive(Default)]
pub struct StateMachineSafety {
    states: BTreeMap<u64, (u64, usize)>,
}

impl Law for StateMachineSafety {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let Some(digest) = look.digest else { return Ok(()) };
        let version = look.view.version();
        let (first, host) = *self.states.entry(version).or_insert((digest, look.host));
        match first == digest {
            true => Ok(()),
            false => Err(format!(
                "state machine safety: n{} and n{} differ at version {version}",
                host + 1,
                look.host + 1
            )),
        }
    }
}
