//! `cargo xtask bench`: how fast services come up, and what they weigh; as JSON lines and as a table.
//! With `--peer` the same on Docker, in the same run, so that one noisy machine judges both.
//!
//! - [`system`]: what is measured: this project in a lab, or Docker in one.
//! - [`measure`]: the measurements, the same for both.
//! - [`memory`]: the share of memory that processes really use.
//! - [`report`]: lines and table; pure.
//! - [`store`]: `bench store`: the managers' store alone.
//! - [`net`]: `bench net`: the data plane alone.
//! - [`example`]: runs the programs of the packages that measure.

mod example;
mod measure;
mod memory;
mod net;
mod peer;
mod report;
mod store;
mod system;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{setup, workspace};
use peer::Docker;
use report::Report;
use system::Ours;

/// Where the peer's script is, relative to the root, unless `--peer` names another.
const PEER: &str = "../shared/peers/docker-swarm-lab";

const USAGE: &str = "usage: cargo xtask bench [--peer [SCRIPT]] | store [WHAT…] | net [WHAT…]";

/// Measures and prints.
pub fn run(words: &[String]) -> Result<()> {
    let script = match words {
        [] => None,
        [verb, chosen @ ..] if verb == "store" => return store::run(chosen),
        [verb, chosen @ ..] if verb == "net" => return net::run(chosen),
        [flag] if flag == "--peer" => Some(workspace::root().join(PEER)),
        [flag, path] if flag == "--peer" => Some(PathBuf::from(path)),
        _ => bail!("{USAGE}"),
    };
    setup::run()?;
    let target = workspace::metadata()?.target;
    workspace::build_programs()?;
    let mut report = Report::default();
    let mut ours = Ours::new(&target)?;
    measure::all(&mut ours, &mut report)?;
    drop(ours);
    if let Some(script) = script {
        match Docker::find(&script)? {
            Ok(mut docker) => measure::all(&mut docker, &mut report)?,
            Err(reason) => println!("skipped: no figures of the peer: {reason}"),
        }
    }
    println!("\n{}", report.table());
    Ok(())
}
