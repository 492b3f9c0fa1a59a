//! What the node itself remembers of its cluster: addresses, the managers it knows, and in the vault its identity and keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swarm_ca::{CaError, Identity, Kept, RecoveryKey};
use swarm_manager::DataKeys;

use crate::data_keys::{self, DataKeyFile};
use crate::file;
use crate::place::Wish;
use crate::vault::{Vault, VaultError};

const SETTINGS_FILE: &str = "node.json";
const RECOVERY_FILE: &str = "recovery.key";
/// Within the daemon's state folder.
pub const CLUSTER_FOLDER: &str = "cluster";
const CERTIFICATES_FOLDER: &str = "certificates";

/// Settings that `init` or `join` decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// ADDRESS:PORT to bind.
    pub listen_addr: String,
    /// ADDRESS:PORT that others are told.
    pub advertise_addr: String,
    /// Address of overlay traffic.
    pub data_path_addr: String,
    /// UDP port of overlay traffic, the same in the whole cluster.
    pub data_path_port: u16,
    /// Managers as last heard, ADDRESS:PORT.
    pub managers: Vec<String>,
    /// What the addresses were made from.
    #[serde(default)]
    pub asked: Wish,
    /// What the daemon's command line asked for at its last start.
    #[serde(default)]
    pub flags: Wish,
}

/// The folders of the node's cluster state.
#[derive(Clone)]
pub struct StateDir {
    root: PathBuf,
    vault: Arc<Vault>,
}

impl StateDir {
    /// Below the daemon's state folder.
    pub fn new(state_dir: &Path) -> Self {
        Self::at(state_dir.join(CLUSTER_FOLDER))
    }

    /// The folder `root` itself.
    pub fn at(root: PathBuf) -> Self {
        let vault =
            Vault::new(&root, &root.join(CERTIFICATES_FOLDER), &[data_keys::FILE, RECOVERY_FILE]);
        Self { root, vault: Arc::new(vault) }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its secrets.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Who this node is; `None` if it is in no cluster.
    pub fn identity(&self) -> Result<Option<Kept>, VaultError> {
        self.vault.identity()
    }

    /// Remembers who this node is.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), CaError> {
        self.vault.save_identity(identity)
    }

    /// Remembers the roots that `identity` trusts, and nothing else of it.
    pub fn save_roots(&self, identity: &Identity) -> Result<(), CaError> {
        identity.save_roots(&self.root.join(CERTIFICATES_FOLDER))
    }

    /// Snapshots that the manager makes by itself.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The managers' replicated store.
    pub fn raft(&self) -> PathBuf {
        self.root.join("raft")
    }

    /// Where managers that moved say that they are.
    pub fn addresses(&self) -> PathBuf {
        self.root.join("addresses")
    }

    /// The agent's ledger.
    pub fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    /// The settings; `None` if the node is in no cluster.
    pub fn settings(&self) -> io::Result<Option<Settings>> {
        match fs::read(self.root.join(SETTINGS_FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers the settings.
    pub fn save_settings(&self, settings: &Settings) -> io::Result<()> {
        file::write(&self.root, SETTINGS_FILE, &serde_json::to_vec_pretty(settings)?)
    }

    /// The keys that seal the store; made when there are none.
    pub fn data_keys(&self) -> Result<DataKeys, VaultError> {
        match self.known_data_keys()? {
            Some(keys) => Ok(keys),
            None => Ok(DataKeyFile::create(&self.vault)?.keys),
        }
    }

    /// The keys that seal the store; `None` if there are none yet.
    pub fn known_data_keys(&self) -> Result<Option<DataKeys>, VaultError> {
        Ok(DataKeyFile::read(&self.vault)?.map(|file| file.keys))
    }

    /// The key that opens the cluster's snapshots, as last heard.
    pub fn recovery_key(&self) -> Result<Option<RecoveryKey>, VaultError> {
        let Some(bytes) = self.vault.read(RECOVERY_FILE)? else { return Ok(None) };
        let damaged = || VaultError::Damaged(format!("{RECOVERY_FILE} is damaged"));
        RecoveryKey::from_slice(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Remembers the key that opens the cluster's snapshots.
    pub fn save_recovery_key(&self, key: &RecoveryKey) -> Result<(), VaultError> {
        if self.recovery_key()?.as_ref() == Some(key) {
            return Ok(());
        }
        self.vault.write(RECOVERY_FILE, key.bytes())
    }

    /// Forgets the replicated store and all keys of it: this node is no manager any more.
    pub fn forget_manager(&self) -> Result<(), VaultError> {
        remove_tree(&self.raft())?;
        remove_tree(&self.snapshots())?;
        self.vault.remove(data_keys::FILE)?;
        self.vault.remove(RECOVERY_FILE)?;
        self.vault.set_lock(self.vault.version()?, None)
    }

    /// Forgets everything: this node is in no cluster any more.
    pub fn wipe(&self) -> io::Result<()> {
        remove_tree(&self.root)?;
        self.vault.forget();
        Ok(())
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_key_survive_a_restart_until_they_are_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        assert!(state.settings().unwrap().is_none());
        let settings = Settings {
            listen_addr: "0.0.0.0:2377".into(),
            advertise_addr: "192.0.2.1:2377".into(),
            data_path_addr: "192.0.2.1".into(),
            data_path_port: 4789,
            managers: vec!["192.0.2.1:2377".into()],
            asked: Wish::default(),
            flags: Wish { advertise: "eth0".into(), ..Wish::default() },
        };
        state.save_settings(&settings).unwrap();
        let key = state.data_keys().unwrap();
        let again = StateDir::new(dir.path());
        assert_eq!(again.settings().unwrap(), Some(settings));
        assert_eq!(again.data_keys().unwrap().bytes(), key.bytes());
        again.wipe().unwrap();
        assert!(state.settings().unwrap().is_none());
    }
}
