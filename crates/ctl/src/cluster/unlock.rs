//! `swarmctl unlock`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{LocalState, UnlockRequest};

use super::terminal;
use crate::client::{Client, local};

/// Flags of `unlock`: the key comes from the terminal or from stdin.
#[derive(Args, Debug)]
pub struct UnlockFlags {}

impl UnlockFlags {
    /// Unlocks this manager.
    pub async fn run(self, client: &Client) -> Result<()> {
        // Nobody types a key in vain.
        match client.info().await?.state() {
            LocalState::Inactive => bail!("this node is not part of a swarm"),
            LocalState::Locked => {}
            _ => bail!("swarm is not locked"),
        }
        let key = terminal::secret("Enter unlock key: ")?;
        local(client.node().unlock(UnlockRequest { key }).await).map(drop)
    }
}
