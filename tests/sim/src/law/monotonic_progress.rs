//! While a replica lives, what it knows to be committed and what it has applied only grows, and it
//! applies nothing that is not committed.

use super::{Law, Look};

#[derive(Default)]
pub struct MonotonicProgress;

impl Law for MonotonicProgress {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let (before, now) = (&look.before.sight, look.sight);
        let name = look.host + 1;
        if now.committed < before.committed {
            return Err(format!(
                "monotonic commit: n{name} went back from {:?} to {:?}",
                before.committed, now.committed
            ));
        }
        if now.applied < before.applied {
            return Err(format!(
                "monotonic apply: n{name} went back from {:?} to {:?}",
                before.applied, now.applied
            ));
        }
        if look.view.version() < look.before.version {
            return Err(format!(
                "monotonic apply: the tables of n{name} went back from version {} to {}",
                look.before.version,
                look.view.version()
            ));
        }
        Ok(())
    }
}
