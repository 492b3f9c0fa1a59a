//! `cargo xtask bench store`: the managers' store alone, by an example program of `raft-store`: durable
//! writes on one and three managers, writes after a leader's death, reopening, tables.

use anyhow::Result;

use super::example;
use super::report::Report;
use crate::workspace;

/// Measures all, or only what is chosen (`writes`, `tables`, `reopen`, `failover`).
pub fn run(chosen: &[String]) -> Result<()> {
    // On the disk of the repository: its syncs are measured in the same run.
    let target = workspace::metadata()?.target;
    let folder = target.join(format!("bench-store-{}", std::process::id()));
    let mut report = Report::default();
    example::measure("swarm-raft-store", "measure", &mut report, |command| {
        command.arg(folder).args(chosen);
    })?;
    println!("\n{}", report.table());
    Ok(())
}
