//! Namespaces for tests, removed when dropped.

use std::fs;
use std::path::PathBuf;

use crate::netns::{self, NetNs};

/// A directory of namespaces that goes away with everything pinned beneath it.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn ns(&self, name: &str) -> NetNs {
        NetNs::create(&self.path(name)).await.unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unpin_below(self.dir.path().to_owned());
    }
}

fn unpin_below(dir: PathBuf) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            unpin_below(path);
        } else if netns::is_pinned(&path) {
            // A pin that cannot be removed must not hide the failure that ended the test.
            let _ = netns::delete(&path);
        }
    }
}
