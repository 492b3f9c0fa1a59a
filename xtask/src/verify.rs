//! `cargo xtask verify`: the read-only gate, the same here and in CI.

use anyhow::{Context, Result};

use crate::process::{self, cargo};
use crate::{setup, test, tidy};

/// Cheapest first, so that a slip is told soon.
pub fn run() -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))
        .context("cargo xtask fix mends this")?;
    tidy::run()?;
    setup::run()?;
    let strict = ["--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::run(cargo().arg("clippy").args(strict))?;
    licences()?;
    test::run(&[])
}

/// Licences and advisories, where the tool is there: installing it takes longer than all the rest.
fn licences() -> Result<()> {
    if !process::is_installed("cargo-deny") {
        println!("skipped: cargo-deny is not installed, deny.toml is not checked");
        return Ok(());
    }
    process::run(cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]))
}
