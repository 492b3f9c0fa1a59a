//! `cargo xtask conformance FILE…`: builds and runs the runner of conformance cases in `tests/conformance`.

use std::path::{Path, absolute};

use anyhow::{Result, bail};

use crate::process::{self, cargo};

/// Runs the cases of these files; fails if a case does.
pub fn run(files: &[String]) -> Result<()> {
    if files.is_empty() {
        bail!("usage: cargo xtask conformance FILE…");
    }
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "swarm-tests", "--bin"]);
    command.args(["conformance", "--"]);
    for file in files {
        // The runner is started in the root, the caller may stand elsewhere.
        command.arg(absolute(Path::new(file))?);
    }
    process::run(&mut command)
}
