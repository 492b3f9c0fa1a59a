//! `swarmctl lab exec`.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result};
use clap::Args;

use super::NameFlag;
use crate::failure::Quiet;

/// What shells add to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// Flags of `lab exec`.
#[derive(Args, Debug)]
pub struct ExecFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Host
    #[arg(value_name = "NODE")]
    node: String,
    /// Command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<String>,
}

impl ExecFlags {
    /// Runs the command on the host and ends with its exit code.
    pub async fn run(self) -> Result<()> {
        let (node, command) = (self.node, self.command);
        let status = self
            .lab
            .with(move |lab| {
                let (program, arguments) = command.split_first().context("no command")?;
                let mut child = lab.command(&node, program)?;
                let failed = || format!("cannot run {program} on {node}");
                child.args(arguments).status().with_context(failed)
            })
            .await?;
        let signalled = status.signal().map(|signal| SIGNALLED + signal);
        match status.code().or(signalled).unwrap_or(1) {
            0 => Ok(()),
            code => Err(Quiet(u8::try_from(code).unwrap_or(1)).into()),
        }
    }
}
