//! Brings the keys on this node's disk under the cluster's, when the manager here hears of a change.

use std::sync::Arc;

use swarm_manager::custody::{Custodian, Custody, DataKey};

use crate::certificate::Keeper;
use crate::data_keys::{self, DataKeyFile};
use crate::state::StateDir;
use crate::vault::VaultError;

/// The node's side of [`Custodian`].
pub struct NodeCustodian {
    state: StateDir,
    keeper: Arc<Keeper>,
}

impl NodeCustodian {
    /// Keeps the keys in `state`; `keeper` replaces that of the certificate.
    pub fn new(state: StateDir, keeper: Arc<Keeper>) -> Self {
        Self { state, keeper }
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
        let was_open = !vault.has_lock();
        vault.set_lock(custody.version, custody.unlock_key.as_ref())?;
        if was_open && vault.has_lock() {
            self.keeper.replace_key();
        }
        Ok(())
    }

    fn data_keys(&self) -> Result<DataKeyFile, VaultError> {
        let missing = || VaultError::Damaged(format!("{} is missing", data_keys::FILE));
        DataKeyFile::read(self.state.vault())?.ok_or_else(missing)
    }
}

impl Custodian for NodeCustodian {
    fn keep(&self, custody: &Custody) -> Result<(), String> {
        self.follow(custody).map_err(in_words)
    }

    fn next_data_key(&self, epoch: u64) -> Result<Option<DataKey>, String> {
        let next = self.data_keys().and_then(|file| file.next(self.state.vault(), epoch));
        next.map_err(in_words)
    }

    fn settle_data_keys(&self) -> Result<(), String> {
        self.data_keys().and_then(|file| file.settle(self.state.vault())).map_err(in_words)
    }
}

fn in_words(error: VaultError) -> String {
    error.to_string()
}
