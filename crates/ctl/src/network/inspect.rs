//! `swarmctl network inspect`.

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use swarm_api::{
    GetNetworkRequest, ListNodesRequest, ListServicesRequest, ListTasksRequest, Network,
};

use crate::client::{Client, ask};
use crate::{inspect, shape};

/// Flags of `network inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    /// "json" or a template such as "{{.Driver}}"
    #[arg(short, long)]
    format: Option<String>,
    /// Also show the nodes, services and tasks that are in it
    #[arg(short, long)]
    verbose: bool,
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl InspectFlags {
    /// Shows the networks.
    pub async fn run(self, client: &Client) -> Result<()> {
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for network in self.networks {
            match ask!(client, get_network, GetNetworkRequest { network: network.clone() }) {
                Ok(answer) => found.extend(answer.network),
                Err(error) => errors.push(error),
            }
        }
        let shown = match self.verbose {
            true => verbose(client, &found).await?,
            false => found.iter().map(shape::network::network).collect(),
        };
        inspect::print(&shown, errors, self.format.as_deref())
    }
}

async fn verbose(client: &Client, networks: &[Network]) -> Result<Vec<Value>> {
    let nodes = ask!(client, list_nodes, ListNodesRequest::default())?.nodes;
    let services = ask!(client, list_services, ListServicesRequest::default())?.services;
    let tasks = ask!(client, list_tasks, ListTasksRequest::default())?.tasks;
    let members = shape::network::Members { nodes: &nodes, services: &services, tasks: &tasks };
    Ok(networks.iter().map(|network| shape::network::verbose(network, &members)).collect())
}
