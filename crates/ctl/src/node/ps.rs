//! `swarmctl node ps`.

use anyhow::Result;
use clap::Args;
use swarm_api::ListTasksRequest;

use super::find;
use crate::client::Client;
use crate::failure::join;
use crate::tasks::{self, TaskFlags};

/// Flags of `node ps`.
#[derive(Args, Debug)]
pub struct PsFlags {
    #[command(flatten)]
    tasks: TaskFlags,
    /// Nodes; the connected one if none is given
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl PsFlags {
    /// Lists the tasks of the nodes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let references = match self.nodes.is_empty() {
            true => vec!["self".to_owned()],
            false => self.nodes,
        };
        let (mut node_ids, mut errors) = (Vec::new(), Vec::new());
        for reference in &references {
            match find(client, reference).await {
                Ok(node) => node_ids.push(node.id),
                Err(error) => errors.push(error),
            }
        }
        if !node_ids.is_empty() {
            let request = ListTasksRequest { node_ids, ..ListTasksRequest::default() };
            tasks::show(client, &self.tasks, request).await?;
        }
        join(errors)
    }
}
