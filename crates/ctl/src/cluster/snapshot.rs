//! Commands on copies of the cluster's whole state.

mod inspect;
mod key;
mod ls;
mod save;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with snapshots.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Save the state of the running cluster to a file
    Save(save::SaveFlags),
    /// Check a snapshot and show what it holds
    Inspect(inspect::InspectFlags),
    /// List the snapshots that this manager keeps by itself
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show or rotate the recovery key, which opens the cluster's snapshots
    Key(key::KeyFlags),
}

impl SnapshotCommand {
    /// Runs it; `host` is the daemon's, where one is asked.
    pub async fn run(self, host: &str) -> Result<()> {
        match self {
            Self::Save(flags) => flags.run(&Client::connect(host).await?).await,
            Self::Inspect(flags) => flags.run(),
            Self::Ls(flags) => flags.run(&Client::connect(host).await?).await,
            Self::Key(flags) => flags.run(&Client::connect(host).await?).await,
        }
    }
}
