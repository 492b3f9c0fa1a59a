//! `swarmctl stack config`.

use anyhow::Result;
use clap::Args;

use super::{environment, sources};
use crate::output;

/// Flags of `stack config`.
#[derive(Args, Debug)]
pub struct ConfigFlags {
    /// Compose file; "-" is stdin; repeatable, later ones add to earlier ones
    #[arg(short, long, value_name = "FILE|-", required = true)]
    compose_file: Vec<String>,
    /// Leave variables as they are written
    #[arg(long)]
    skip_interpolation: bool,
}

impl ConfigFlags {
    /// Shows the merged file. Needs no daemon.
    pub async fn run(self) -> Result<()> {
        let sources = sources(&self.compose_file).await?;
        let text = swarm_compose::render(&sources, &environment(), !self.skip_interpolation)?;
        Ok(output::raw(text.as_bytes())?)
    }
}
