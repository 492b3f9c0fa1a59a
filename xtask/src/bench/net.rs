//! `cargo xtask bench net`: the data plane alone, by example programs of `overlay-net`. As root.

use anyhow::{Result, bail};

use super::example;
use super::report::Report;

/// What is measured, and the program that does it.
const PARTS: [(&str, &str); 1] = [("balance", "balance")];

/// Measures all, or only what is chosen: `balance`, what virtual addresses cost.
pub fn run(chosen: &[String]) -> Result<()> {
    if let Some(unknown) = chosen.iter().find(|c| PARTS.iter().all(|(part, _)| part != c)) {
        let known = PARTS.map(|(part, _)| part).join(", ");
        bail!("bench net measures {known}, not {unknown}");
    }
    let mut report = Report::default();
    for (part, program) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|c| c == part) {
            example::measure("swarm-overlay-net", program, &mut report, |_| {})?;
        }
    }
    println!("\n{}", report.table());
    Ok(())
}
