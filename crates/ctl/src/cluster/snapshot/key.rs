//! `swarmctl cluster snapshot key`.

use anyhow::Result;
use clap::Args;
use swarm_api::{GetRecoveryKeyRequest, UpdateClusterRequest};

use crate::client::{Client, ask};
use crate::cluster::unlock_key::change;
use crate::output;

/// Flags of `cluster snapshot key`.
#[derive(Args, Debug)]
pub struct KeyFlags {
    /// Make a new key for snapshots from now on; older ones still need the old key
    #[arg(long)]
    rotate: bool,
    /// Only show the key
    #[arg(short, long)]
    quiet: bool,
}

impl KeyFlags {
    /// Shows the key, rotated first if asked for.
    pub async fn run(self, client: &Client) -> Result<()> {
        if self.rotate {
            let rotate = |request| UpdateClusterRequest { rotate_recovery_key: true, ..request };
            change(client, rotate).await?;
            if !self.quiet {
                output::line("Successfully rotated recovery key.\n")?;
            }
        }
        match self.quiet {
            true => Ok(output::line(key(client).await?)?),
            false => show(client).await,
        }
    }
}

async fn key(client: &Client) -> Result<String> {
    Ok(ask!(client, get_recovery_key, GetRecoveryKeyRequest {})?.recovery_key)
}

/// Says the key and what it is for.
pub async fn show(client: &Client) -> Result<()> {
    let key = key(client).await?;
    output::line("To read a snapshot of this cluster you need its recovery key:\n")?;
    output::line(format_args!("    {key}\n"))?;
    Ok(output::line(
        "Please remember to store this key in a password manager, apart from the snapshots:\n\
         without it nobody can read them.",
    )?)
}
