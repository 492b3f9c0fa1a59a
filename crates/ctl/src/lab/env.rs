//! `swarmctl lab env`.

use anyhow::Result;
use clap::Args;

use super::NameFlag;
use crate::output;

/// Flags of `lab env`.
#[derive(Args, Debug)]
pub struct EnvFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Host
    #[arg(value_name = "NODE")]
    node: String,
}

impl EnvFlags {
    /// Prints what a shell is to evaluate.
    pub async fn run(self) -> Result<()> {
        let node = self.node;
        let host = self.lab.with(move |lab| Ok(lab.env(&node)?)).await?;
        Ok(output::line(format_args!("export SWARM_HOST={host}"))?)
    }
}
