//! Commands on secrets.

mod create;
mod inspect;
mod ls;
mod rm;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with secrets.
#[derive(Subcommand, Debug)]
pub enum SecretCommand {
    /// Make a secret from a file or stdin
    Create(create::CreateFlags),
    /// List secrets
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show secrets in detail
    Inspect(inspect::InspectFlags),
    /// Remove secrets
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
}

impl SecretCommand {
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
