//! `swarmctl network update`.

use anyhow::{Context, Result, bail};
use clap::Args;
use ipnet::{IpNet, Ipv4Net};
use swarm_api::{GetNetworkRequest, IpamConfig, Network, NetworkSpec, UpdateNetworkRequest};

use crate::client::{Client, ask};
use crate::{labels, output};

/// Flags of `network update`.
#[derive(Args, Debug, Default)]
pub struct UpdateFlags {
    /// A larger subnet that contains one of the network's; its addresses stay as they are; repeatable
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<Ipv4Net>,
    /// One subnet more; repeatable
    #[arg(long, value_name = "CIDR")]
    add_subnet: Vec<Ipv4Net>,
    /// Add or change a label; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a label; repeatable
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Network
    #[arg(value_name = "NETWORK")]
    network: String,
}

impl UpdateFlags {
    fn changes_something(&self) -> bool {
        let texts = self.label_add.len() + self.label_rm.len();
        texts + self.subnet.len() + self.add_subnet.len() > 0
    }

    /// What the network's spec becomes.
    fn edit(&self, network: &Network) -> Result<NetworkSpec> {
        let mut spec = network.spec.clone().context("the network has no spec")?;
        let annotations = spec.annotations.get_or_insert_default();
        for key in &self.label_rm {
            if annotations.labels.remove(key).is_none() {
                bail!("key {key} doesn't exist in network's labels");
            }
        }
        annotations.labels.extend(labels::parse(&self.label_add)?);
        if self.subnet.is_empty() && self.add_subnet.is_empty() {
            return Ok(spec);
        }
        spec.ipam = as_allocated(network, spec.ipam);
        for wanted in &self.subnet {
            grow(&mut spec.ipam, *wanted)?;
        }
        let more = self
            .add_subnet
            .iter()
            .map(|subnet| IpamConfig { subnet: subnet.to_string(), ..IpamConfig::default() });
        spec.ipam.extend(more);
        Ok(spec)
    }

    /// Changes the network.
    pub async fn run(self, client: &Client) -> Result<()> {
        if !self.changes_something() {
            bail!(
                "nothing to update: give at least one flag (see 'swarmctl network update --help')"
            );
        }
        let request = GetNetworkRequest { network: self.network.clone() };
        let network = ask!(client, get_network, request)?.network.unwrap_or_default();
        let request = UpdateNetworkRequest {
            network_id: network.id.clone(),
            version: network.meta.as_ref().and_then(|m| m.version),
            spec: Some(self.edit(&network)?),
        };
        let answer = ask!(client, update_network, request)?;
        answer.warnings.iter().for_each(|text| output::note(format_args!("warning: {text}")));
        Ok(output::line(self.network)?)
    }
}

/// The configurations that the network was asked to have; one that left its subnet to the cluster now keeps that one.
fn as_allocated(network: &Network, mut asked: Vec<IpamConfig>) -> Vec<IpamConfig> {
    if network.asked_subnets().is_empty() && !network.subnet.is_empty() {
        let (subnet, gateway) = (network.subnet.clone(), network.gateway.clone());
        asked.insert(0, IpamConfig { subnet, gateway, ..IpamConfig::default() });
    }
    asked
}

/// Puts `wanted` in the place of the subnet that it contains.
fn grow(ipam: &mut [IpamConfig], wanted: Ipv4Net) -> Result<()> {
    let inside = |config: &&mut IpamConfig| {
        config.subnet.parse::<Ipv4Net>().is_ok_and(|subnet| wanted.contains(&subnet))
    };
    if let Some(config) = ipam.iter_mut().find(inside) {
        config.subnet = wanted.to_string();
        return Ok(());
    }
    let have: Vec<&str> = ipam.iter().map(|c| c.subnet.as_str()).collect();
    let have = have.iter().filter(|text| matches!(text.parse(), Ok(IpNet::V4(_))));
    bail!(
        "subnet {wanted} contains none of the network's subnets ({}): to have it as well, use \
         --add-subnet",
        have.copied().collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network {
            spec: Some(NetworkSpec::default()),
            subnet: "10.0.16.0/20".into(),
            gateway: "10.0.16.1".into(),
            ..Network::default()
        }
    }

    fn subnets(flags: &UpdateFlags) -> Vec<String> {
        let spec = flags.edit(&network()).unwrap();
        spec.ipam.into_iter().map(|c| c.subnet).collect()
    }

    #[test]
    fn a_network_whose_subnet_was_chosen_keeps_it_when_it_grows() {
        let more = UpdateFlags {
            add_subnet: vec!["10.200.0.0/16".parse().unwrap()],
            ..UpdateFlags::default()
        };
        assert_eq!(subnets(&more), ["10.0.16.0/20", "10.200.0.0/16"]);
        let larger =
            UpdateFlags { subnet: vec!["10.0.0.0/16".parse().unwrap()], ..UpdateFlags::default() };
        assert_eq!(subnets(&larger), ["10.0.0.0/16"]);
        let spec = larger.edit(&network()).unwrap();
        assert_eq!(spec.ipam[0].gateway, "10.0.16.1");
    }

    #[test]
    fn a_subnet_that_contains_none_of_the_network_s_is_refused_with_the_way_to_add_it() {
        let flags =
            UpdateFlags { subnet: vec!["10.9.0.0/16".parse().unwrap()], ..UpdateFlags::default() };
        let error = flags.edit(&network()).unwrap_err().to_string();
        assert!(error.contains("10.0.16.0/20") && error.contains("--add-subnet"), "{error}");
    }
}
