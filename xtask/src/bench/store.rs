//! `cargo xtask bench store`: the managers' store alone, by an example program of `raft-store`: durable
//! writes on one and three managers, writes after a leader's death, reopening, tables.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::report::{Line, Report};
use crate::process::{self, cargo};
use crate::workspace;

const PACKAGE: [&str; 4] = ["--package", "swarm-raft-store", "--example", "measure"];

/// Measures all, or only what is chosen (`writes`, `tables`, `reopen`, `failover`).
pub fn run(chosen: &[String]) -> Result<()> {
    let target = workspace::metadata()?.target;
    process::run(cargo().args(["build", "--release", "--locked"]).args(PACKAGE))?;
    // On the disk of the repository: its syncs are measured in the same run.
    let folder = target.join(format!("bench-store-{}", std::process::id()));
    let mut command = std::process::Command::new(target.join("release/examples/measure"));
    command.arg(folder).args(chosen).stdout(Stdio::piped());
    println!("$ {}", process::line(&command));
    let mut child = command.spawn().context("run the measurement")?;
    let out = child.stdout.take().context("the measurement has no output")?;
    let mut report = Report::default();
    for line in BufReader::new(out).lines() {
        let line = line.context("read the measurement")?;
        match Line::parse(&line) {
            Some(figure) => report.add(figure),
            None => println!("{line}"),
        }
    }
    let status = child.wait().context("wait for the measurement")?;
    if !status.success() {
        bail!("the measurement failed ({status})");
    }
    println!("\n{}", report.table());
    Ok(())
}
