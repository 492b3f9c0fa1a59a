//! Commands on networks.

mod create;
mod inspect;
mod ls;
mod rm;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with networks.
#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Make a network
    Create(Box<create::CreateFlags>),
    /// List networks
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show networks in detail
    Inspect(inspect::InspectFlags),
    /// Remove networks
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
}

impl NetworkCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Create(flags) => flags.run(client).await,
            Self::Ls(flags) => flags.run(client).await,
            Self::Inspect(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
        }
    }
}
