//! What the node itself remembers beside its identity: addresses, the managers it knows, the key that seals the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand as crypto_rand;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const SETTINGS_FILE: &str = "node.json";
const KEY_FILE: &str = "store.key";
const KEY_LEN: usize = 32;

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
}

/// The folders of the node's cluster state.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Below the daemon's state folder.
    pub fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("cluster") }
    }

    /// Certificates.
    pub fn identity(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// The managers' replicated store.
    pub fn raft(&self) -> PathBuf {
        self.root.join("raft")
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
        self.write(SETTINGS_FILE, &serde_json::to_vec_pretty(settings)?)
    }

    /// The key that seals the store; made when there is none.
    pub fn data_key(&self) -> io::Result<Zeroizing<[u8; KEY_LEN]>> {
        let path = self.root.join(KEY_FILE);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() == KEY_LEN => key.copy_from_slice(&bytes),
            Ok(bytes) => {
                let text = format!("{}: {} bytes, want {KEY_LEN}", path.display(), bytes.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                crypto_rand::fill(key.as_mut_slice())
                    .map_err(|_| io::Error::other("the random source of the system failed"))?;
                self.write(KEY_FILE, key.as_slice())?;
            }
            Err(error) => return Err(error),
        }
        Ok(key)
    }

    /// Forgets the replicated store: this node is no manager any more.
    pub fn forget_raft(&self) -> io::Result<()> {
        remove_tree(&self.raft())
    }

    /// Forgets everything: this node is in no cluster any more.
    pub fn wipe(&self) -> io::Result<()> {
        remove_tree(&self.root)
    }

    /// For root only, and whole after a power cut.
    fn write(&self, name: &str, data: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let (path, part) = (self.root.join(name), self.root.join(format!("{name}.part")));
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(part, path)?;
        File::open(&self.root)?.sync_all()
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
        };
        state.save_settings(&settings).unwrap();
        let key = state.data_key().unwrap();
        let again = StateDir::new(dir.path());
        assert_eq!(again.settings().unwrap(), Some(settings));
        assert_eq!(*again.data_key().unwrap(), *key);
        again.wipe().unwrap();
        assert!(state.settings().unwrap().is_none());
    }
}
