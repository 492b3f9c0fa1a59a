//! What a cluster is recovered from: a snapshot, or the state folder of a manager that does not run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use swarm_ca::{RecoveryKey, UnlockKey};
use swarm_manager::recovery::{RecoveryError, Salvage};

use super::{beside, copy_tree, occupy};
use crate::args::RecoverArgs;
use crate::prompt;
use crate::state::{CLUSTER_FOLDER, StateDir};

/// Reads the source that is named, with keys from `here`, from a file, or as typed.
pub fn read(here: &StateDir, wanted: &RecoverArgs) -> Result<Salvage> {
    let from = &wanted.from;
    let found = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    let read = match found.is_dir() {
        true => folder(here, from, wanted.key_file.as_deref()),
        false => snapshot(here, from, wanted.key_file.as_deref()),
    };
    read.with_context(|| from.display().to_string())
}

/// A snapshot: with the key that this node remembers, if that is the one, else with one that is given.
pub fn snapshot(here: &StateDir, file: &Path, key_file: Option<&Path>) -> Result<Salvage> {
    if key_file.is_none()
        && let Ok(Some(key)) = here.recovery_key()
    {
        match Salvage::from_snapshot(file, &key) {
            Err(RecoveryError::Archive(swarm_manager::recovery::ArchiveError::WrongKey {
                ..
            })) => {}
            other => return Ok(other?),
        }
    }
    let text = prompt::key("recovery key", key_file)?;
    let key: RecoveryKey = text.parse()?;
    Ok(Salvage::from_snapshot(file, &key)?)
}

/// A manager's folder: the daemon's state folder, or the cluster's within it. Only a copy is opened.
fn folder(here: &StateDir, from: &Path, key_file: Option<&Path>) -> Result<Salvage> {
    let root = match from.join(CLUSTER_FOLDER).is_dir() {
        true => from.join(CLUSTER_FOLDER),
        false => from.to_owned(),
    };
    let there = StateDir::at(root.clone());
    if !there.raft().is_dir() {
        bail!("it holds no manager's state: give the state folder of a manager, or a snapshot");
    }
    // This node's own folder is held already.
    let parent = root.parent().filter(|p| !here.root().parent().is_some_and(|h| is_same(p, h)));
    let _use = parent.map(occupy).transpose()?;
    if there.vault().is_locked()? {
        let text = prompt::key("unlock key", key_file)?;
        let key: UnlockKey = text.parse()?;
        there.vault().unlock(&key).context("swarm could not be unlocked")?;
    }
    let data_keys = there.known_data_keys()?.context("the keys of its store are missing")?;
    let copy = Copy(beside(here.root(), "reading"));
    let _ = fs::remove_dir_all(&copy.0);
    copy_tree(&there.raft(), &copy.0)?;
    Ok(Salvage::from_folder(&copy.0, &data_keys)?)
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Goes when it is no longer needed.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
