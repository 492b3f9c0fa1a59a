//! `swarmd inspect`, which `swarmctl cluster snapshot inspect` runs: what a snapshot holds, without a
//! daemon and without showing a secret.

use std::io::{self, Write};

use anyhow::{Context, Result};

use crate::args::{Args, InspectArgs};
use crate::recover::{describe, open_snapshot};
use crate::state::StateDir;

/// Reads and checks all of the snapshot, then tells.
pub fn run(args: &Args, wanted: &InspectArgs) -> Result<()> {
    let here = StateDir::new(&args.state_dir);
    let file = wanted.file.display().to_string();
    let salvage = open_snapshot(&here, &wanted.file, wanted.key_file.as_deref())
        .with_context(|| file.clone())?;
    let text = describe(&salvage, &file, wanted.json);
    Ok(io::stdout().write_all(text.as_bytes())?)
}
