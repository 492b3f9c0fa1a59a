//! Debian's package manager, asked so that it never asks back.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Installs; refreshes the lists first where a package is not in them yet.
pub fn install(packages: &[&str]) -> Result<()> {
    if !packages.iter().all(|package| is_listed(package)) {
        process::run(apt().args(["update", "-q"])).context("refresh the lists of packages")?;
    }
    let words = ["install", "-q", "--yes", "--no-install-recommends"];
    if process::run(apt().args(words).args(packages)).is_ok() {
        return Ok(());
    }
    // Lists that are there may be too old to name files that still exist.
    process::run(apt().args(["update", "-q"])).context("refresh the lists of packages")?;
    process::run(apt().args(words).args(packages))
}

/// Whether the lists name a version that could be installed.
fn is_listed(package: &str) -> bool {
    let text = process::capture(Command::new("apt-cache").args(["policy", package]));
    text.is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    command
}
