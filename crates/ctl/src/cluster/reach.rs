//! `swarmctl reach`.

use anyhow::{Result, anyhow};
use clap::Args;
use swarm_api::{ReachRequest, Reached};

use crate::client::{Client, local};
use crate::output;

/// Flags of `reach`.
#[derive(Args, Debug)]
pub struct ReachFlags {
    /// Address of a manager as it is now, as HOST[:PORT]
    #[arg(value_name = "ADDR", required = true)]
    addrs: Vec<String>,
}

impl ReachFlags {
    /// Has the node look for managers there, and says whom it found.
    pub async fn run(self, client: &Client) -> Result<()> {
        let request = ReachRequest { addrs: self.addrs };
        let reached = local(client.node().reach(request).await)?.reached;
        let (found, missed): (Vec<&Reached>, Vec<&Reached>) =
            reached.iter().partition(|one| one.error.is_empty());
        for Reached { addr, node_id, .. } in found {
            output::line(format_args!("Manager {node_id} answers at {addr}."))?;
        }
        match missed.as_slice() {
            [] => Ok(()),
            missed => {
                let why = |one: &&Reached| format!("no manager at {}: {}", one.addr, one.error);
                Err(anyhow!(missed.iter().map(why).collect::<Vec<_>>().join("\n")))
            }
        }
    }
}
