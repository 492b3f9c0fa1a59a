//! Local volumes: one directory each, `<root>/volumes/<name>/_data`, with labels beside it.
//! Knows which containers use a volume, so that none is removed under them. Filling an empty
//! volume from an image is the shim's (`shim::copy`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Longest volume name: what a file name may be.
const MAX_NAME: usize = 255;

/// Handle to the volumes of one engine; clones share it.
#[derive(Debug, Clone)]
pub struct VolumeStore {
    root: PathBuf,
    users: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub created_at: u64,
    /// Made for one container, for an image's `VOLUME` or a mount without a name.
    pub anonymous: bool,
    /// Where its content is.
    #[serde(skip)]
    pub mountpoint: PathBuf,
}

impl VolumeStore {
    pub(crate) fn open(root: PathBuf) -> Result<Self, EngineError> {
        fs::create_dir_all(&root).map_err(EngineError::io("make volume directory"))?;
        Ok(Self { root, users: Arc::default() })
    }

    /// Makes a volume, or returns the one that has this name. `driver` must be `local`, without
    /// options.
    pub async fn create(
        &self,
        name: &str,
        driver: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        let invalid = |reason: String| EngineError::InvalidVolume { name: name.to_owned(), reason };
        if !matches!(driver, "" | "local") {
            return Err(invalid(format!("volume driver {driver} is not built, only local is")));
        }
        if let Some(option) = options.keys().next() {
            return Err(invalid(format!("option {option} of the local driver is not built")));
        }
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || store.make(&name, labels, false)).await
    }

    /// One volume.
    pub async fn get(&self, name: &str) -> Result<Volume, EngineError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || store.load(&name)).await
    }

    /// All volumes by name.
    pub async fn list(&self) -> Result<Vec<Volume>, EngineError> {
        let store = self.clone();
        blocking(move || {
            let entries = fs::read_dir(&store.root).map_err(EngineError::io("list volumes"))?;
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            let mut volumes: Vec<Volume> =
                names.filter_map(|name| store.load(&name).ok()).collect();
            volumes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(volumes)
        })
        .await
    }

    /// Removes a volume and its content; refused while a container has it.
    pub async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || {
            store.load(&name)?;
            let users = store.lock();
            if let Some(container) = users.get(&name).and_then(BTreeSet::first) {
                let container = container.clone();
                return Err(EngineError::VolumeInUse { volume: name, container });
            }
            fs::remove_dir_all(store.root.join(&name))
                .map_err(EngineError::io(format!("remove volume {name}")))
        })
        .await
    }

    /// Names of the containers that have the volume.
    pub fn users(&self, name: &str) -> Vec<String> {
        self.lock().get(name).map(|users| users.iter().cloned().collect()).unwrap_or_default()
    }

    /// Makes a volume if there is none of this name. Blocks on the disk.
    pub(crate) fn make(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        anonymous: bool,
    ) -> Result<Volume, EngineError> {
        check_name(name)?;
        match self.load(name) {
            Err(EngineError::VolumeNotFound(_)) => {}
            other => return other,
        }
        let dir = self.root.join(name);
        let context = || format!("make volume {name}");
        fs::create_dir_all(dir.join("_data")).map_err(EngineError::io(context()))?;
        let created_at = crate::state::now();
        let volume = Volume {
            name: name.to_owned(),
            labels,
            created_at,
            anonymous,
            mountpoint: dir.join("_data"),
        };
        let text = serde_json::to_vec(&volume)
            .map_err(|e| EngineError::io(context())(std::io::Error::other(e)))?;
        let partial = dir.join("volume.partial");
        fs::write(&partial, text).map_err(EngineError::io(context()))?;
        fs::rename(partial, dir.join("volume.json")).map_err(EngineError::io(context()))?;
        Ok(volume)
    }

    fn load(&self, name: &str) -> Result<Volume, EngineError> {
        check_name(name)?;
        let dir = self.root.join(name);
        let text = match fs::read(dir.join("volume.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(EngineError::VolumeNotFound(name.to_owned()));
            }
            Err(error) => return Err(EngineError::io(format!("read volume {name}"))(error)),
        };
        let mut volume: Volume = serde_json::from_slice(&text)
            .map_err(|e| EngineError::io(format!("read volume {name}"))(e.into()))?;
        volume.mountpoint = dir.join("_data");
        Ok(volume)
    }

    pub(crate) fn acquire(&self, name: &str, container: &str) {
        self.lock().entry(name.to_owned()).or_default().insert(container.to_owned());
    }

    pub(crate) fn release(&self, container: &str) {
        self.lock().retain(|_, users| {
            users.remove(container);
            !users.is_empty()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        // The map is whole after any single operation, so a panic elsewhere does not matter.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The volume a path lies in, by its name.
    pub(crate) fn name_of(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.root).ok()?.components().next()?;
        Some(name.as_os_str().to_str()?.to_owned())
    }
}

fn check_name(name: &str) -> Result<(), EngineError> {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first && rest && name.len() <= MAX_NAME {
        return Ok(());
    }
    let reason = "names are [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 255 long".to_owned();
    Err(EngineError::InvalidVolume { name: name.to_owned(), reason })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(EngineError::io("volume work")(std::io::Error::other(e))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_in_use_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = VolumeStore::open(dir.path().to_owned()).unwrap();
        let made = store.create("data", "local", BTreeMap::new(), BTreeMap::new()).await.unwrap();
        assert!(made.mountpoint.is_dir());
        store.acquire("data", "c1");
        let error = store.remove("data").await.unwrap_err();
        assert_eq!(error.to_string(), "volume data is in use by container c1");
        store.release("c1");
        store.remove("data").await.unwrap();
        assert!(store.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn names_and_drivers_that_do_not_exist_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = VolumeStore::open(dir.path().to_owned()).unwrap();
        let none = BTreeMap::new;
        assert!(store.create("../x", "local", none(), none()).await.is_err());
        assert!(store.create("x", "nfs", none(), none()).await.is_err());
        let error = store.get("x").await.unwrap_err();
        assert_eq!(error.to_string(), "no such volume: x");
    }
}
