//! Commands on the volumes of the connected node.

mod create;
mod ls;
mod rm;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with volumes.
#[derive(Subcommand, Debug)]
pub enum VolumeCommand {
    /// Make a volume
    Create(create::CreateFlags),
    /// List volumes
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Remove volumes and what is in them
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
}

impl VolumeCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Create(flags) => flags.run(client).await,
            Self::Ls(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
        }
    }
}
