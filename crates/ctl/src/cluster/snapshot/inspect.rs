//! `swarmctl cluster snapshot inspect`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cluster::recover::become_daemon;
use crate::failure::refuse;

/// Flags of `cluster snapshot inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    /// File with the recovery key; asked for when this node does not know it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// "json"
    #[arg(short, long)]
    format: Option<String>,
    /// Folder of this node's daemon, for the key that it knows
    #[arg(long, value_name = "DIR", default_value = "/var/lib/swarmd")]
    state_dir: PathBuf,
    /// The snapshot
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl InspectFlags {
    /// Becomes the daemon's program, which can read snapshots; no daemon is needed.
    pub fn run(self) -> Result<()> {
        let json = self.format.as_deref() == Some("json");
        refuse("--format other than json", self.format.is_some() && !json)?;
        let mut line: Vec<OsString> =
            vec!["--state-dir".into(), self.state_dir.into(), "inspect".into()];
        if let Some(file) = self.key_file {
            line.extend(["--key-file".into(), file.into_os_string()]);
        }
        if json {
            line.push("--json".into());
        }
        line.extend(["--".into(), self.file.into_os_string()]);
        Err(become_daemon(&line))
    }
}
