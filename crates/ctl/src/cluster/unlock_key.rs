//! `swarmctl unlock-key`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{GetUnlockKeyRequest, UpdateClusterRequest};

use super::join_token::cluster;
use crate::client::{Client, ask};
use crate::output;

/// Flags of `unlock-key`.
#[derive(Args, Debug)]
pub struct UnlockKeyFlags {
    /// Make a new key. A manager that is down now needs the old one when it starts
    #[arg(long)]
    rotate: bool,
    /// Only show the key
    #[arg(short, long)]
    quiet: bool,
}

impl UnlockKeyFlags {
    /// Shows the key, rotated first if asked for.
    pub async fn run(self, client: &Client) -> Result<()> {
        if self.rotate {
            let rotate = |request| UpdateClusterRequest { rotate_unlock_key: true, ..request };
            change(client, rotate).await?;
            if !self.quiet {
                output::line("Successfully rotated manager unlock key.\n")?;
            }
        }
        match self.quiet {
            true => Ok(output::line(key(client).await?)?),
            false => show(client).await,
        }
    }
}

/// An update of the cluster that leaves its settings.
pub async fn change(
    client: &Client,
    with: impl FnOnce(UpdateClusterRequest) -> UpdateClusterRequest,
) -> Result<()> {
    let cluster = cluster(client).await?;
    let request = with(UpdateClusterRequest {
        version: cluster.meta.and_then(|m| m.version),
        spec: cluster.spec,
        ..UpdateClusterRequest::default()
    });
    ask!(client, update_cluster, request).map(drop)
}

async fn key(client: &Client) -> Result<String> {
    let key = ask!(client, get_unlock_key, GetUnlockKeyRequest {})?.unlock_key;
    if key.is_empty() {
        bail!("no unlock key is set");
    }
    Ok(key)
}

/// Says the key and what it is for.
pub async fn show(client: &Client) -> Result<()> {
    let key = key(client).await?;
    output::line(
        "To unlock a swarm manager after it restarts, run the 'swarmctl unlock'\n\
         command and provide the following key:\n",
    )?;
    output::line(format_args!("    {key}\n"))?;
    Ok(output::line(
        "Please remember to store this key in a password manager, since without it you\n\
         will not be able to restart the manager.",
    )?)
}
