//! The secrets that a node keeps on its disk, in the clear or, while autolock is on, wrapped under a
//! key that only the unlock key opens.
//!
//! The unlock key wraps the node's own lock keys, in one file; a lock key wraps the secrets, one file
//! each. So a new unlock key takes effect by replacing one file, and a crash at any step leaves every
//! secret readable with the key of that file. Secrets say themselves whether they are wrapped.
//! Blocking; used by `state`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use swarm_ca::{CaError, Identity, Kept, UnlockKey, WrapKey};
use zeroize::Zeroizing;

use crate::file::{read, write};

const LOCK_FILE: &str = "lock.json";
const MAGIC: &[u8; 8] = b"swlock\x001";
/// What a wrapped lock key is.
const LOCK_CONTEXT: &str = "node lock key";

/// Why a secret is out of reach.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The unlock key is needed.
    #[error("this node is locked")]
    Locked,
    /// It is another one.
    #[error("invalid key provided")]
    WrongKey,
    /// A file, by name.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file makes no sense.
    #[error("{0}")]
    Damaged(String),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] CaError),
}

/// The file with the lock keys.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LockFile {
    /// Of the cluster object that was applied last.
    version: u64,
    /// Wrapped under the unlock key, in hexadecimal, the one in use first; none: not locked.
    keys: Vec<String>,
    /// A change has begun: some secrets may not be under the first key yet.
    unsettled: bool,
}

/// The lock as it is in use.
struct Lock {
    unlock: UnlockKey,
    // In use first.
    keys: Vec<WrapKey>,
}

#[derive(Default)]
struct State {
    lock: Option<Lock>,
    // A change has begun and not come to its end.
    unsettled: bool,
}

/// The secrets of a node's cluster folder.
pub struct Vault {
    dir: PathBuf,
    identity: PathBuf,
    secrets: &'static [&'static str],
    state: Mutex<State>,
}

impl Vault {
    /// Keeps `secrets` in `dir` and the node's identity in `identity`.
    pub fn new(dir: &Path, identity: &Path, secrets: &'static [&'static str]) -> Self {
        let (dir, identity) = (dir.to_owned(), identity.to_owned());
        Self { dir, identity, secrets, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed only by whole assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something in it cannot be read without the unlock key.
    pub fn is_locked(&self) -> Result<bool, VaultError> {
        match self.check(&[]) {
            Err(VaultError::Locked) if self.state().lock.is_none() => Ok(true),
            Ok(()) | Err(VaultError::Locked) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads everything with `keys`.
    fn check(&self, keys: &[WrapKey]) -> Result<(), VaultError> {
        for name in self.secrets {
            self.open(name, keys)?;
        }
        match Identity::load_locked(&self.identity, keys)? {
            Some(Kept::Locked(_)) => Err(VaultError::Locked),
            _ => Ok(()),
        }
    }

    /// Makes the secrets readable, if this is the key.
    pub fn unlock(&self, key: &UnlockKey) -> Result<(), VaultError> {
        let file = self.lock_file()?;
        let keys = self.unwrap_keys(&file, key)?;
        self.check(&keys).map_err(|error| match error {
            VaultError::Locked => VaultError::WrongKey,
            other => other,
        })?;
        let lock = Some(Lock { unlock: key.clone(), keys });
        *self.state() = State { lock, unsettled: file.unsettled };
        Ok(())
    }

    fn unwrap_keys(&self, file: &LockFile, key: &UnlockKey) -> Result<Vec<WrapKey>, VaultError> {
        let under = WrapKey::from(key);
        let unwrap = |text: &String| {
            let wrapped = from_hex(text).ok_or_else(|| self.damaged())?;
            let plain = under.open(LOCK_CONTEXT, &wrapped).map_err(|_| VaultError::WrongKey)?;
            WrapKey::from_slice(&plain).ok_or_else(|| self.damaged())
        };
        file.keys.iter().map(unwrap).collect()
    }

    fn damaged(&self) -> VaultError {
        VaultError::Damaged(format!("{} is damaged", self.dir.join(LOCK_FILE).display()))
    }

    /// Whether what is written now is wrapped.
    pub fn has_lock(&self) -> bool {
        self.state().lock.is_some()
    }

    fn lock_file(&self) -> Result<LockFile, VaultError> {
        match read(&self.dir.join(LOCK_FILE))? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| self.damaged()),
            None => Ok(LockFile::default()),
        }
    }

    fn save_lock(
        &self,
        version: u64,
        lock: Option<(&UnlockKey, &[WrapKey])>,
        unsettled: bool,
    ) -> Result<(), VaultError> {
        let mut file = LockFile { version, keys: Vec::new(), unsettled };
        if let Some((unlock, keys)) = lock {
            let under = WrapKey::from(unlock);
            for key in keys {
                file.keys.push(to_hex(&under.wrap(LOCK_CONTEXT, key.bytes())?));
            }
        }
        let text = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
        Ok(write(&self.dir, LOCK_FILE, &text)?)
    }

    /// Version of the settings that were applied last; 0 before any.
    pub fn version(&self) -> Result<u64, VaultError> {
        Ok(self.lock_file()?.version)
    }

    /// Brings all secrets under `unlock`, or into the clear, as the cluster's settings of `version`
    /// say. On disk when it returns; called again after a failure, it finishes.
    pub fn set_lock(&self, version: u64, unlock: Option<&UnlockKey>) -> Result<(), VaultError> {
        let old: Vec<WrapKey> = self.keys();
        let same = {
            let state = self.state();
            state.lock.as_ref().map(|l| &l.unlock) == unlock && !state.unsettled
        };
        if same {
            return self.save_lock(version, unlock.map(|u| (u, &*old)), false);
        }
        let Some(unlock) = unlock else {
            self.rewrite(None, &old)?;
            self.save_lock(version, None, false)?;
            *self.state() = State::default();
            return Ok(());
        };
        let fresh = WrapKey::generate()?;
        let both: Vec<WrapKey> = std::iter::once(fresh.clone()).chain(old).collect();
        let before = self.version()?;
        self.save_lock(before, Some((unlock, &both)), true)?;
        let lock = |keys| Some(Lock { unlock: unlock.clone(), keys });
        *self.state() = State { lock: lock(both.clone()), unsettled: true };
        self.rewrite(Some(&fresh), &both)?;
        let only = vec![fresh];
        self.save_lock(version, Some((unlock, &only)), false)?;
        *self.state() = State { lock: lock(only), unsettled: false };
        Ok(())
    }

    fn rewrite(&self, under: Option<&WrapKey>, keys: &[WrapKey]) -> Result<(), VaultError> {
        for name in self.secrets {
            if let Some(plain) = self.open(name, keys)? {
                self.put(name, &plain, under)?;
            }
        }
        match Identity::load_locked(&self.identity, keys)? {
            Some(Kept::Open(identity)) => Ok(identity.save_locked(&self.identity, under)?),
            Some(Kept::Locked(_)) => Err(VaultError::Locked),
            None => Ok(()),
        }
    }

    fn keys(&self) -> Vec<WrapKey> {
        self.state().lock.as_ref().map(|l| l.keys.clone()).unwrap_or_default()
    }

    /// The node's identity, if there is one: with its key, unless that is locked.
    pub fn identity(&self) -> Result<Option<Kept>, VaultError> {
        Ok(Identity::load_locked(&self.identity, &self.keys())?)
    }

    /// Keeps the identity.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), CaError> {
        // The lock is held meanwhile: a change of locks must not miss this file.
        let state = self.state();
        identity.save_locked(&self.identity, state.lock.as_ref().and_then(|l| l.keys.first()))
    }

    /// One of the secrets; `None` if it was never written.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        self.open(name, &self.keys())
    }

    /// Keeps one of the secrets.
    pub fn write(&self, name: &str, plain: &[u8]) -> Result<(), VaultError> {
        let state = self.state();
        self.put(name, plain, state.lock.as_ref().and_then(|l| l.keys.first()))
    }

    /// Forgets one of the secrets.
    pub fn remove(&self, name: &str) -> Result<(), VaultError> {
        match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn open(&self, name: &str, keys: &[WrapKey]) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some(bytes) = read(&self.dir.join(name))? else { return Ok(None) };
        let Some(wrapped) = bytes.strip_prefix(MAGIC.as_slice()) else { return Ok(Some(bytes)) };
        let opened = keys.iter().find_map(|key| key.open(name, wrapped).ok());
        opened.map(Some).ok_or(VaultError::Locked)
    }

    fn put(&self, name: &str, plain: &[u8], under: Option<&WrapKey>) -> Result<(), VaultError> {
        let Some(key) = under else { return Ok(write(&self.dir, name, plain)?) };
        let wrapped = [MAGIC.as_slice(), &key.wrap(name, plain)?].concat();
        Ok(write(&self.dir, name, &wrapped)?)
    }

    /// After all files were removed.
    pub fn forget(&self) {
        *self.state() = State::default();
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    // Two digits make a byte.
    let byte = |pair: &[u32]| Some((pair.first()? * 16 + pair.get(1)?) as u8);
    digits?.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests;
