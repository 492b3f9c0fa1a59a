//! Brings the keys on this node's disk under the cluster's, when the manager here hears of a change.

use swarm_manager::custody::{Custodian, Custody};

use crate::state::StateDir;
use crate::vault::VaultError;

/// The node's side of [`Custodian`].
pub struct NodeCustodian {
    state: StateDir,
}

impl NodeCustodian {
    /// Keeps the keys in `state`.
    pub fn new(state: StateDir) -> Self {
        Self { state }
    }

    fn follow(&self, custody: &Custody) -> Result<(), VaultError> {
        let vault = self.state.vault();
        // A manager that was restarted reads old settings again before it hears of the newest.
        if custody.version < vault.version()? {
            return Ok(());
        }
        if let Some(key) = &custody.recovery_key {
            self.state.save_recovery_key(key)?;
        }
        vault.set_lock(custody.version, custody.unlock_key.as_ref())
    }
}

impl Custodian for NodeCustodian {
    fn keep(&self, custody: &Custody) -> Result<(), String> {
        self.follow(custody).map_err(|error| error.to_string())
    }
}
