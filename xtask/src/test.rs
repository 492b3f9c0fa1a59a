//! `cargo xtask test`: every test there is, of every kind, on a machine that may lack what they need.

use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{self, cargo};
use crate::{setup, workspace};

/// Tells end-to-end tests where the built programs are.
const PROGRAMS: &str = "SWARM_BIN_DIR";
/// Threads of a test program of clusters: as the group in `.config/nextest.toml`.
const CLUSTERS_AT_ONCE: &str = "--test-threads=2";
const CLUSTER_TESTS: &str = "swarm-tests";

/// Runs all tests, or those whose names contain one of the words.
pub fn run(filters: &[String]) -> Result<()> {
    setup::run()?;
    let programs = workspace::metadata()?.target.join("debug");
    process::run(cargo().args(["build", "--locked", "--workspace", "--bins"]))?;
    // nextest shows progress and ends what hangs. Installing it takes eleven minutes of processor
    // time (measured), longer than the tests: where it is missing, cargo's own runner does.
    if process::is_installed("cargo-nextest") || has_nextest() {
        return with_nextest(&programs, filters);
    }
    println!("test: cargo-nextest is not installed, so cargo test runs the tests");
    with_cargo(&programs, filters)
}

fn has_nextest() -> bool {
    process::succeeds(cargo().args(["nextest", "--version"]))
}

fn with_nextest(programs: &Path, filters: &[String]) -> Result<()> {
    let mut command = cargo();
    command.env(PROGRAMS, programs).args(["nextest", "run", "--locked", "--workspace"]);
    process::run(command.args(filters)).context("some tests failed")
}

fn with_cargo(programs: &Path, filters: &[String]) -> Result<()> {
    let scopes: [&[&str]; 2] =
        [&["--workspace", "--exclude", CLUSTER_TESTS], &["--package", CLUSTER_TESTS]];
    let mut failed = Vec::new();
    for (index, scope) in scopes.iter().enumerate() {
        let mut command = cargo();
        command.env(PROGRAMS, programs).args([
            "test",
            "--locked",
            "--no-fail-fast",
            "--all-targets",
        ]);
        command.args(*scope).arg("--").args(filters);
        if index == 1 {
            command.arg(CLUSTERS_AT_ONCE);
        }
        if let Err(error) = process::run(&mut command) {
            failed.push(format!("{error:#}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => anyhow::bail!("some tests failed: {}", failed.join("; ")),
    }
}
