//! Commands on configs.

mod create;
mod inspect;
mod ls;
mod rm;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with configs.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Make a config from a file or stdin
    Create(create::CreateFlags),
    /// List configs
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show configs in detail
    Inspect(inspect::InspectFlags),
    /// Remove configs
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
}

impl ConfigCommand {
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
