//! Unpacked layers: `layers/<chain id>/diff` under the store's root, each made exactly once.
//!
//! A folder appears whole, verified and durable, or not at all; callers that want the same one at
//! the same time wait for the first. Does not mount: the container side stacks the folders.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use super::blobs::{self, Blobs, MAX_BLOB, make_dir, sync_dir};
use super::compression;
use super::digest::{self, HashingReader};
use super::error::{Doing, ImageError, Result};
use super::manifest::Layer;
use super::unpack;

/// The folder under a layer's that overlayfs is given.
const DIFF: &str = "diff";

/// One lock per name, forgotten when nobody holds it.
#[derive(Debug, Default)]
pub(super) struct KeyedLocks(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl KeyedLocks {
    /// Waits for the others that hold `key`.
    pub(super) async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// The folder of unpacked layers.
#[derive(Debug)]
pub(super) struct Layers {
    dir: PathBuf,
    tmp: PathBuf,
    pub(super) locks: KeyedLocks,
}

impl Layers {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let layers =
            Self { dir: root.join("layers"), tmp: root.join("tmp"), locks: KeyedLocks::default() };
        make_dir(&layers.dir)?;
        make_dir(&layers.tmp)?;
        Ok(layers)
    }

    /// Where a chain's folder is or will be.
    pub(super) fn path(&self, chain_id: &str) -> Result<PathBuf> {
        Ok(self.dir.join(digest::hex_of(chain_id)?).join(DIFF))
    }

    /// An empty folder, for an image without layers: overlayfs needs one.
    pub(super) fn empty(&self) -> Result<PathBuf> {
        let path = self.dir.join("empty").join(DIFF);
        fs::create_dir_all(&path).doing(|| format!("create folder {}", path.display()))?;
        Ok(path)
    }

    /// Unpacks a layer, unless that was done before. The caller holds the chain's lock.
    pub(super) fn unpack(&self, blobs: &Blobs, layer: &Layer) -> Result<PathBuf> {
        let path = self.path(&layer.chain_id)?;
        if path.is_dir() {
            return Ok(path);
        }
        let doing = || format!("unpack layer {}", layer.digest);
        let temp = tempfile::TempDir::new_in(&self.tmp).doing(doing)?;
        let diff = temp.path().join(DIFF);
        fs::create_dir(&diff)
            .and_then(|()| fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)))
            .doing(doing)?;
        unpack_verified(blobs, layer, &diff)?;
        let chain = path.parent().unwrap_or(&path);
        fs::rename(temp.path(), chain).doing(doing)?;
        // The folder has moved: there is nothing left for the guard to delete.
        let _moved = temp.keep();
        sync_dir(&self.dir)?;
        Ok(path)
    }

    pub(super) fn remove(&self, chain_id: &str) -> Result<()> {
        let path = self.dir.join(digest::hex_of(chain_id)?);
        // Renamed first, so that a crash half way leaves no folder that looks complete.
        let grave = tempfile::TempDir::new_in(&self.tmp)
            .doing(|| "create a temporary image folder".to_owned())?;
        match fs::rename(&path, grave.path().join("removed")) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).doing(|| format!("remove layer {chain_id}")),
            Ok(()) => grave.close().doing(|| format!("remove layer {chain_id}")),
        }
    }

    /// Chain ids of everything unpacked.
    pub(super) fn all(&self) -> Result<Vec<String>> {
        let doing = || "list the unpacked layers".to_owned();
        let mut chains = Vec::new();
        for entry in fs::read_dir(&self.dir).doing(doing)? {
            if let Some(name) = entry.doing(doing)?.file_name().to_str() {
                chains.push(format!("sha256:{name}"));
            }
        }
        chains.retain(|chain| digest::hex_of(chain).is_ok());
        Ok(chains)
    }
}

/// Unpacks and checks that the content is what the image's configuration promised.
fn unpack_verified(blobs: &Blobs, layer: &Layer, diff: &Path) -> Result<()> {
    let (file, _) = blobs.open_blob(&layer.digest).map_err(|error| match error {
        ImageError::NotFound(digest) => {
            ImageError::MissingBlob { image: format!("with layer {}", layer.diff_id), digest }
        }
        other => other,
    })?;
    let what = format!("layer {}", layer.digest);
    let (plain, _) = compression::plain(file).doing(|| format!("read {what}"))?;
    let mut plain = HashingReader::new(plain, MAX_BLOB);
    unpack::unpack(&mut plain, diff)?;
    let (diff_id, _) = plain.finish().doing(|| format!("read {what}"))?;
    blobs::verify(&format!("the uncompressed {what}"), &layer.diff_id, &diff_id)
}
