//! `swarmctl network rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::{GetNetworkRequest, RemoveNetworkRequest};

use crate::client::{Client, ask};
use crate::failure::{is_not_found, join};
use crate::{input, output};

/// Arguments of `network rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Do not ask before the ingress network goes, and be content if a network is not there
    #[arg(short, long)]
    force: bool,
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl RmFlags {
    /// Removes the networks.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for network in self.networks {
            if !self.force && carries_published_ports(client, &network).await {
                let question = "removing the ingress network unpublishes all ports of services: be \
                                sure that no node needs it";
                if !input::confirmed(question).await? {
                    continue;
                }
            }
            match ask!(client, remove_network, RemoveNetworkRequest { network: network.clone() }) {
                Ok(_) => output::line(network)?,
                Err(error) if self.force && is_not_found(&error) => {}
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}

/// What cannot be looked up is left to the removal to report.
async fn carries_published_ports(client: &Client, network: &str) -> bool {
    let request = GetNetworkRequest { network: network.to_owned() };
    let answer = ask!(client, get_network, request);
    let spec = answer.ok().and_then(|answer| answer.network).and_then(|network| network.spec);
    spec.is_some_and(|spec| spec.ingress)
}
