//! `swarmctl node rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveNodeRequest;

use crate::client::{Client, ask};
use crate::failure::join;
use crate::output;

/// Flags of `node rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Remove the node even if it is not down
    #[arg(short, long)]
    force: bool,
    /// Nodes
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl RmFlags {
    /// Removes the nodes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for node in self.nodes {
            let request = RemoveNodeRequest { node: node.clone(), force: self.force };
            match ask!(client, remove_node, request) {
                Ok(_) => output::line(node)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
