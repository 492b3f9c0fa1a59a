//! `swarmctl network inspect`.

use anyhow::Result;
use clap::Args;
use swarm_api::GetNetworkRequest;

use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::{inspect, shape};

/// Flags of `network inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    /// "json" or a template such as "{{.Driver}}"
    #[arg(short, long)]
    format: Option<String>,
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl InspectFlags {
    /// Shows the networks.
    pub async fn run(self, client: &Client) -> Result<()> {
        refuse("--verbose", self.verbose)?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for network in self.networks {
            match ask!(client, get_network, GetNetworkRequest { network: network.clone() }) {
                Ok(answer) => found.extend(answer.network.as_ref().map(shape::network::network)),
                Err(error) => errors.push(error),
            }
        }
        inspect::print(&found, errors, self.format.as_deref())
    }
}
