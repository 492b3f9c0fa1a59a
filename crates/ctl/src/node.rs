//! Commands on nodes.

mod inspect;
mod ls;
mod ps;
mod rm;
mod role;
mod update;

use anyhow::{Context, Result};
use clap::Subcommand;
use swarm_api::{GetNodeRequest, Node, NodeSpec, UpdateNodeRequest};

use crate::client::{Client, ask};
use crate::failure::is_stale;

/// Attempts against others who change the same node meanwhile.
const EDITS: usize = 5;

/// What can be done with nodes.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// List nodes
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show nodes in detail
    Inspect(inspect::InspectFlags),
    /// List the tasks of nodes
    Ps(ps::PsFlags),
    /// Change a node
    Update(update::UpdateFlags),
    /// Make nodes managers
    Promote(role::PromoteFlags),
    /// Make nodes workers
    Demote(role::DemoteFlags),
    /// Remove nodes from the cluster
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
}

impl NodeCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Ls(flags) => flags.run(client).await,
            Self::Inspect(flags) => flags.run(client).await,
            Self::Ps(flags) => flags.run(client).await,
            Self::Update(flags) => flags.run(client).await,
            Self::Promote(flags) => flags.run(client).await,
            Self::Demote(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
        }
    }
}

/// The node that `reference` names; `self` is the connected one.
async fn find(client: &Client, reference: &str) -> Result<Node> {
    let node = match reference {
        "self" => client.info().await?.node_id,
        other => other.to_owned(),
    };
    let answer = ask!(client, get_node, GetNodeRequest { node })?;
    answer.node.with_context(|| format!("node {reference} not found"))
}

/// Changes a node's spec, anew if someone else changed it meanwhile.
async fn edit(
    client: &Client,
    reference: &str,
    change: impl Fn(&mut NodeSpec) -> Result<()>,
) -> Result<Node> {
    let mut attempt = 1;
    loop {
        let node = find(client, reference).await?;
        let mut spec = node.spec.clone().unwrap_or_default();
        change(&mut spec)?;
        let request = UpdateNodeRequest {
            node_id: node.id.clone(),
            version: node.meta.as_ref().and_then(|m| m.version),
            spec: Some(spec),
        };
        match ask!(client, update_node, request) {
            Ok(answer) => return Ok(answer.node.unwrap_or(node)),
            Err(error) if is_stale(&error) && attempt < EDITS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
