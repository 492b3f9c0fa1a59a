//! `swarmctl node promote` and `demote`.

use anyhow::Result;
use clap::Args;
use swarm_api::NodeRole;

use super::{edit, find};
use crate::client::Client;
use crate::failure::join;
use crate::output;
use crate::shape::node::role;

/// Arguments of `node promote`.
#[derive(Args, Debug)]
pub struct PromoteFlags {
    /// Nodes
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl PromoteFlags {
    /// Makes the nodes managers.
    pub async fn run(self, client: &Client) -> Result<()> {
        set(client, &self.nodes, NodeRole::Manager).await
    }
}

/// Arguments of `node demote`.
#[derive(Args, Debug)]
pub struct DemoteFlags {
    /// Nodes
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl DemoteFlags {
    /// Makes the nodes workers.
    pub async fn run(self, client: &Client) -> Result<()> {
        set(client, &self.nodes, NodeRole::Worker).await
    }
}

async fn set(client: &Client, nodes: &[String], wanted: NodeRole) -> Result<()> {
    let mut errors = Vec::new();
    for reference in nodes {
        match set_one(client, reference, wanted).await {
            Ok(said) => output::line(said)?,
            Err(error) => errors.push(error),
        }
    }
    join(errors)
}

async fn set_one(client: &Client, reference: &str, wanted: NodeRole) -> Result<String> {
    let node = find(client, reference).await?;
    if node.spec.as_ref().is_some_and(|s| s.desired_role() == wanted) {
        return Ok(format!("Node {reference} is already a {}.", role(wanted)));
    }
    edit(client, reference, |spec| {
        spec.desired_role = wanted.into();
        Ok(())
    })
    .await?;
    Ok(match wanted {
        NodeRole::Manager => format!("Node {reference} promoted to a manager in the swarm."),
        NodeRole::Worker => format!("Manager {reference} demoted in the swarm."),
    })
}
