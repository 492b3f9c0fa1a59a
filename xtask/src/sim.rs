//! `cargo xtask sim`: groups of managers on a simulated network, clock and disk, by seed. The
//! simulator itself is `tests/sim`.

use anyhow::Result;

use crate::process::{self, cargo};

/// Passes its options on: `--seed S --seeds N --scenario NAME --verbose`.
pub fn run(words: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--locked", "--quiet", "--package", "swarm-sim", "--"]);
    process::run(command.args(words))
}
