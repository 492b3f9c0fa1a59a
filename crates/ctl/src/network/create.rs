//! `swarmctl network create`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{Annotations, CreateNetworkRequest, IpamConfig, NetworkSpec};

use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::{labels, output};

/// The only driver of cluster networks.
const OVERLAY: &str = "overlay";

/// Flags of `network create`.
#[derive(Args, Debug, Default)]
pub struct CreateFlags {
    /// Driver; cluster networks have only "overlay"
    #[arg(short, long, default_value = OVERLAY)]
    driver: String,
    /// Option of the driver; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Label; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// Let containers that belong to no service in
    #[arg(long)]
    attachable: bool,
    /// Make it the network of published ports
    #[arg(long)]
    ingress: bool,
    /// Also use IPv6
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    ipv6: Option<bool>,
    /// Subnet, as CIDR; repeatable
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// Part of a subnet that addresses are taken from; repeatable
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Gateway of a subnet; repeatable
    #[arg(long, value_name = "IP")]
    gateway: Vec<String>,
    #[arg(long, hide = true)]
    scope: Option<String>,
    #[arg(long, hide = true)]
    ipv4: Option<String>,
    #[arg(long, hide = true)]
    config_only: bool,
    #[arg(long, hide = true)]
    config_from: Option<String>,
    #[arg(long, hide = true)]
    ipam_driver: Option<String>,
    #[arg(long, hide = true)]
    ipam_opt: Vec<String>,
    #[arg(long, hide = true)]
    aux_address: Vec<String>,
    /// Name
    #[arg(value_name = "NETWORK")]
    name: String,
}

impl CreateFlags {
    fn check(&self) -> Result<()> {
        refuse("--ipv4", self.ipv4.is_some())?;
        refuse("--config-only", self.config_only)?;
        refuse("--config-from", self.config_from.is_some())?;
        refuse("--ipam-driver", self.ipam_driver.as_deref().is_some_and(|d| d != "default"))?;
        refuse("--ipam-opt", !self.ipam_opt.is_empty())?;
        refuse("--aux-address", !self.aux_address.is_empty())?;
        if self.scope.as_deref().is_some_and(|scope| scope != "swarm") {
            bail!("--scope: only networks of the whole cluster (swarm) can be made");
        }
        if self.driver != OVERLAY {
            bail!(
                "driver \"{}\" is not supported: cluster networks are overlay networks",
                self.driver
            );
        }
        Ok(())
    }

    /// The spec that the flags describe.
    fn spec(&self) -> Result<NetworkSpec> {
        self.check()?;
        swarm_api::name::local(&self.name)?;
        Ok(NetworkSpec {
            annotations: Some(Annotations {
                name: self.name.clone(),
                labels: labels::parse(&self.label)?,
            }),
            driver: self.driver.clone(),
            driver_opts: labels::parse(&self.opt)?,
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            ipv6: self.ipv6.unwrap_or(false),
            ipam: self.ipam()?,
        })
    }

    /// The n-th range and gateway belong to the n-th subnet; the manager checks that they lie in
    /// it.
    fn ipam(&self) -> Result<Vec<IpamConfig>> {
        let extra = self.ip_range.len().max(self.gateway.len());
        if extra > self.subnet.len() {
            bail!("every ip-range or gateway must have a corresponding subnet");
        }
        let nth = |values: &[String], i: usize| values.get(i).cloned().unwrap_or_default();
        let config = |(i, subnet): (usize, &String)| IpamConfig {
            subnet: subnet.clone(),
            ip_range: nth(&self.ip_range, i),
            gateway: nth(&self.gateway, i),
        };
        Ok(self.subnet.iter().enumerate().map(config).collect())
    }

    /// Makes the network and shows its id.
    pub async fn run(self, client: &Client) -> Result<()> {
        let request = CreateNetworkRequest {
            spec: Some(self.spec()?),
            request_id: swarm_api::id::random_id(),
        };
        let made = ask!(client, create_network, request)?.network.unwrap_or_default();
        Ok(output::line(made.id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(change: impl FnOnce(&mut CreateFlags)) -> CreateFlags {
        let mut flags =
            CreateFlags { driver: OVERLAY.into(), name: "net".into(), ..Default::default() };
        change(&mut flags);
        flags
    }

    #[test]
    fn flags_become_a_spec() {
        let spec = flags(|f| {
            f.subnet = vec!["10.1.0.0/24".into()];
            f.gateway = vec!["10.1.0.1".into()];
            f.opt = vec!["encrypted=false".into()];
        });
        let spec = spec.spec().unwrap();
        assert_eq!(spec.ipam[0].gateway, "10.1.0.1");
        assert_eq!(spec.driver_opts["encrypted"], "false");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let cases = [
            (flags(|f| f.config_only = true), "--config-only"),
            (flags(|f| f.driver = "bridge".into()), "driver \"bridge\""),
            (flags(|f| f.gateway = vec!["1.1.1.1".into()]), "every ip-range or gateway"),
            (flags(|f| f.scope = Some("local".into())), "--scope"),
        ];
        for (flags, expected) in cases {
            let error = flags.spec().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
