//! `cargo xtask fix`: the mutating twin of `verify`. Mends format and lints, then says what is left.

use anyhow::Result;

use crate::process::{self, cargo};
use crate::{setup, tidy};

/// Runs no tests: what it changes, `verify` judges.
pub fn run() -> Result<()> {
    setup::run()?;
    let mend = ["--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    process::run(cargo().arg("clippy").args(mend))?;
    process::run(cargo().args(["fmt", "--all"]))?;
    tidy::run()
}
