//! The file with the keys that a manager's store is sealed under: which number of the cluster the
//! newest was made for, and the keys, newest first; more than one while a rotation is not finished.
//!
//! It lies in the vault, wrapped while autolock is on. Blocking; used by `state` and `custodian`.

use std::io;

use aws_lc_rs::rand;
use swarm_manager::DataKeys;
use swarm_manager::custody::DataKey;
use zeroize::Zeroizing;

use crate::vault::{Vault, VaultError};

/// Within the cluster folder.
pub const FILE: &str = "store.key";
/// Of the number before the keys, little-endian.
const EPOCH_BYTES: usize = 8;

/// What the file holds.
#[derive(Debug)]
pub struct DataKeyFile {
    /// The newest was made when the cluster asked for this one.
    pub epoch: u64,
    /// Newest first.
    pub keys: DataKeys,
}

impl DataKeyFile {
    /// As it is kept; `None` if it never was.
    pub fn read(vault: &Vault) -> Result<Option<Self>, VaultError> {
        let Some(bytes) = vault.read(FILE)? else { return Ok(None) };
        let parsed = bytes.split_first_chunk::<EPOCH_BYTES>().and_then(|(epoch, keys)| {
            let keys = DataKeys::from_bytes(keys)?;
            Some(Self { epoch: u64::from_le_bytes(*epoch), keys })
        });
        let text = || format!("{FILE}: {} bytes are no number and keys", bytes.len());
        parsed.map(Some).ok_or_else(|| VaultError::Damaged(text()))
    }

    /// With a first key, kept at once.
    pub fn create(vault: &Vault) -> Result<Self, VaultError> {
        let file = Self { epoch: 0, keys: (*fresh()?).into() };
        file.write(vault)?;
        Ok(file)
    }

    /// The key that the store is still to be sealed under, kept at once; `None`: its key is of
    /// `epoch` or newer, and it has no other.
    pub fn next(self, vault: &Vault, epoch: u64) -> Result<Option<DataKey>, VaultError> {
        if self.keys.is_rotating() {
            return Ok(Some(self.keys.current()));
        }
        if self.epoch >= epoch {
            return Ok(None);
        }
        let new = fresh()?;
        Self { epoch, keys: self.keys.rotated(*new) }.write(vault)?;
        Ok(Some(new))
    }

    /// Forgets all keys but the newest.
    pub fn settle(self, vault: &Vault) -> Result<(), VaultError> {
        match self.keys.is_rotating() {
            true => Self { epoch: self.epoch, keys: self.keys.newest() }.write(vault),
            false => Ok(()),
        }
    }

    fn write(&self, vault: &Vault) -> Result<(), VaultError> {
        let keys = self.keys.bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(EPOCH_BYTES + keys.len()));
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&keys);
        vault.write(FILE, &bytes)
    }
}

fn fresh() -> Result<DataKey, VaultError> {
    let mut key = DataKey::default();
    rand::fill(key.as_mut_slice())
        .map_err(|_| io::Error::other("the random source of the system failed"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vault: &Vault) -> DataKeyFile {
        DataKeyFile::read(vault).unwrap().unwrap()
    }

    #[test]
    fn a_rotation_goes_on_after_a_crash_at_any_step_and_ends_with_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path(), &dir.path().join("identity"), &[FILE]);
        assert!(DataKeyFile::read(&vault).unwrap().is_none());
        let first = DataKeyFile::create(&vault).unwrap().keys.current();
        assert!(read(&vault).next(&vault, 0).unwrap().is_none());
        let second = read(&vault).next(&vault, 4).unwrap().unwrap();
        assert_ne!(second, first);
        assert_eq!(*read(&vault).keys.bytes(), [*second, *first].concat());
        // Again, also when yet another is wanted: the one begun is finished first.
        assert_eq!(read(&vault).next(&vault, 5).unwrap().unwrap(), second);
        read(&vault).settle(&vault).unwrap();
        assert_eq!(*read(&vault).keys.bytes(), *second);
        assert!(read(&vault).next(&vault, 4).unwrap().is_none());
        assert_ne!(read(&vault).next(&vault, 5).unwrap().unwrap(), second);
    }

    #[test]
    fn a_file_that_holds_no_whole_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path(), &dir.path().join("identity"), &[FILE]);
        vault.write(FILE, &[1; 39]).unwrap();
        let error = DataKeyFile::read(&vault).unwrap_err().to_string();
        assert_eq!(error, "store.key: 39 bytes are no number and keys");
    }
}
