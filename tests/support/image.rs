//! The image that tests run: made once per machine from Debian's static busybox.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::command::Outcome;

/// The archive, made when there is none.
pub fn busybox() -> PathBuf {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(make).clone()
}

fn make() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let dir = workspace.join("target").join("images");
    std::fs::create_dir_all(&dir).expect("target is writable");
    let archive = dir.join("busybox.tar");
    if archive.exists() {
        return archive;
    }
    // Another test process may be making it too: the last rename wins, all are equal.
    let part = dir.join(format!("busybox.{}.tar", std::process::id()));
    let script = workspace.join("deploy/demo/busybox.sh");
    Outcome::of(Command::new("bash").arg(script).arg(&part)).ok();
    std::fs::rename(&part, &archive).expect("both are in target");
    archive
}
