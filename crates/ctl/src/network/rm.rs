//! `swarmctl network rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveNetworkRequest;

use crate::client::{Client, ask};
use crate::failure::join;
use crate::output;

/// Arguments of `network rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl RmFlags {
    /// Removes the networks.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for network in self.networks {
            match ask!(client, remove_network, RemoveNetworkRequest { network: network.clone() }) {
                Ok(_) => output::line(network)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
