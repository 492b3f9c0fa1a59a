//! `swarmctl leave`.

use anyhow::Result;
use clap::Args;
use swarm_api::LeaveRequest;

use crate::client::{Client, local};
use crate::output;

/// Flags of `leave`.
#[derive(Args, Debug)]
pub struct LeaveFlags {
    /// Leave even if the cluster loses its quorum or its state by it
    #[arg(short, long)]
    force: bool,
}

impl LeaveFlags {
    /// Leaves; the node stays listed as down until 'node rm'.
    pub async fn run(self, client: &Client) -> Result<()> {
        let left = local(client.node().leave(LeaveRequest { force: self.force }).await)?;
        if !left.lost.is_empty() {
            output::note(format_args!("warning: {}", left.lost));
        }
        Ok(output::line("Node left the swarm.")?)
    }
}
