//! `swarmctl join-token`.

use anyhow::{Context, Result};
use clap::Args;
use swarm_api::{
    Cluster, GetClusterRequest, JoinTokens, UpdateClusterRequest, UpdateClusterResponse,
};

use super::Role;
use crate::client::{Client, ask};
use crate::output;

/// Flags of `join-token`.
#[derive(Args, Debug)]
pub struct JoinTokenFlags {
    /// Whose token
    #[arg(value_enum)]
    role: Role,
    /// Make a new token; the old one lets nobody join any more
    #[arg(long)]
    rotate: bool,
    /// Only show the token
    #[arg(short, long)]
    quiet: bool,
}

impl JoinTokenFlags {
    /// Shows the token, rotated first if asked for.
    pub async fn run(self, client: &Client) -> Result<()> {
        let role = self.role.name();
        if self.rotate {
            rotate(client, self.role).await?;
        }
        if self.quiet {
            let cluster = cluster(client).await?;
            return Ok(output::line(token(&cluster, self.role)?)?);
        }
        if self.rotate {
            output::line(format_args!("Successfully rotated {role} join token.\n"))?;
        }
        let command = join_command(client, self.role).await?;
        output::line(format_args!("To add a {role} to this swarm, run the following command:\n"))?;
        Ok(output::line(format_args!("    {command}\n"))?)
    }
}

/// The cluster object.
pub async fn cluster(client: &Client) -> Result<Cluster> {
    ask!(client, get_cluster, GetClusterRequest {})?
        .cluster
        .context("the manager sent no cluster object")
}

/// The command with which a node joins as `role` through this node.
pub async fn join_command(client: &Client, role: Role) -> Result<String> {
    let cluster = cluster(client).await?;
    let addr = client.info().await?.addr;
    Ok(format!("swarmctl join --token {} {addr}", token(&cluster, role)?))
}

/// The token for `role`.
pub fn token(cluster: &Cluster, role: Role) -> Result<&str> {
    let tokens: &JoinTokens = cluster
        .root_ca
        .as_ref()
        .and_then(|root| root.join_tokens.as_ref())
        .context("the manager sent no join tokens")?;
    Ok(match role {
        Role::Worker => &tokens.worker,
        Role::Manager => &tokens.manager,
    })
}

async fn rotate(client: &Client, role: Role) -> Result<UpdateClusterResponse> {
    let cluster = cluster(client).await?;
    let request = UpdateClusterRequest {
        version: cluster.meta.and_then(|m| m.version),
        spec: cluster.spec,
        rotate_worker_token: role == Role::Worker,
        rotate_manager_token: role == Role::Manager,
        ..UpdateClusterRequest::default()
    };
    ask!(client, update_cluster, request)
}
