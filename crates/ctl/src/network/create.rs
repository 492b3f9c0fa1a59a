//! `swarmctl network create`.

use anyhow::{Result, anyhow, bail};
use clap::Args;
use ipnet::IpNet;
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
    /// Option of the driver, such as mtu=1400; repeatable
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
    /// Also use IPv6, with a subnet of the cluster's own unless --subnet names one
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    ipv6: Option<bool>,
    /// Subnet, as CIDR; repeatable, the first one has the gateway
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// Part of a subnet that addresses are taken from; repeatable
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Gateway of a subnet; repeatable
    #[arg(long, value_name = "IP")]
    gateway: Vec<String>,
    /// Address of a subnet that is given to nobody; repeatable
    #[arg(long, value_name = "NAME=IP")]
    aux_address: Vec<String>,
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

    /// Ranges, gateways and reserved addresses belong to the subnet that contains them.
    fn ipam(&self) -> Result<Vec<IpamConfig>> {
        let extra = self.ip_range.len() + self.gateway.len() + self.aux_address.len();
        if extra > 0 && self.subnet.is_empty() {
            bail!("every ip-range or gateway must have a corresponding subnet");
        }
        let mut plan = Vec::new();
        for subnet in &self.subnet {
            let net: IpNet =
                subnet.parse().map_err(|_| anyhow!("subnet \"{subnet}\" is not a CIDR"))?;
            plan.push((net, IpamConfig { subnet: subnet.clone(), ..IpamConfig::default() }));
        }
        for range in &self.ip_range {
            let config = owner(&mut plan, "range", range, within(range))?;
            once("ranges", &mut config.ip_range, range, &config.subnet)?;
        }
        for gateway in &self.gateway {
            let config = owner(&mut plan, "gateway", gateway, within(gateway))?;
            once("gateways", &mut config.gateway, gateway, &config.subnet)?;
        }
        for (name, address) in labels::parse(&self.aux_address)? {
            let config = owner(&mut plan, "aux-address", &address, within(&address))?;
            config.reserved.insert(name, address);
        }
        Ok(plan.into_iter().map(|(_, config)| config).collect())
    }

    /// Makes the network and shows its id.
    pub async fn run(self, client: &Client) -> Result<()> {
        let request = CreateNetworkRequest {
            spec: Some(self.spec()?),
            request_id: swarm_api::id::random_id(),
        };
        let made = ask!(client, create_network, request)?;
        made.warnings.iter().for_each(|text| output::note(format_args!("warning: {text}")));
        Ok(output::line(made.network.unwrap_or_default().id)?)
    }
}

/// The range that a CIDR or a single address is.
fn within(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn owner<'p>(
    plan: &'p mut [(IpNet, IpamConfig)],
    what: &str,
    text: &str,
    range: Option<IpNet>,
) -> Result<&'p mut IpamConfig> {
    let mut all = plan.iter_mut();
    let found = all.find(|(net, _)| range.is_some_and(|range| net.contains(&range)));
    found
        .map(|(_, config)| config)
        .ok_or_else(|| anyhow!("no matching subnet for {what} \"{text}\""))
}

fn once(what: &str, field: &mut String, value: &str, subnet: &str) -> Result<()> {
    if !field.is_empty() {
        bail!("cannot configure multiple {what} ({field}, {value}) on the same subnet ({subnet})");
    }
    value.clone_into(field);
    Ok(())
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
    fn ranges_and_gateways_belong_to_the_subnet_that_contains_them() {
        let ipam = flags(|f| {
            f.subnet = vec!["10.1.0.0/24".into(), "fd00:1::/64".into(), "10.2.0.0/24".into()];
            f.gateway = vec!["fd00:1::9".into(), "10.1.0.9".into()];
            f.ip_range = vec!["10.2.0.128/25".into()];
            f.aux_address = vec!["router=10.1.0.2".into()];
        });
        let ipam = ipam.ipam().unwrap();
        let gateways: Vec<&str> = ipam.iter().map(|c| c.gateway.as_str()).collect();
        assert_eq!(gateways, ["10.1.0.9", "fd00:1::9", ""]);
        assert_eq!(ipam[2].ip_range, "10.2.0.128/25");
        assert_eq!(ipam[0].reserved["router"], "10.1.0.2");
        let lost = flags(|f| {
            f.subnet = vec!["10.1.0.0/24".into()];
            f.gateway = vec!["10.9.0.1".into()];
        });
        let error = lost.ipam().unwrap_err().to_string();
        assert_eq!(error, "no matching subnet for gateway \"10.9.0.1\"");
        let twice = flags(|f| {
            f.subnet = vec!["10.1.0.0/24".into()];
            f.gateway = vec!["10.1.0.1".into(), "10.1.0.2".into()];
        });
        let error = twice.ipam().unwrap_err().to_string();
        assert!(error.starts_with("cannot configure multiple gateways (10.1.0.1, 10.1.0.2)"));
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
