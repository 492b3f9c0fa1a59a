//! Overlay networks. Their VNI, subnet and gateway are allocated by a pass; a subnet that the user names is checked here.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::View;

use super::{Door, filter, material, ports};
use crate::object_id;
use crate::refusal::Refusal;

/// The only driver of networks that span nodes.
pub const OVERLAY: &str = "overlay";

pub async fn create(
    door: &Door,
    request: CreateNetworkRequest,
) -> Result<CreateNetworkResponse, Refusal> {
    let spec = request.spec.ok_or_else(|| Refusal::Invalid("a network needs a spec".into()))?;
    let spec = checked(spec)?;
    let id = object_id::of_request(&request.request_id);
    let network = Network { id: id.clone(), spec: Some(spec), ..Network::default() };
    door.write_once(|tx| {
        if tx.view().get::<Network>(&id).is_some() {
            return Ok(());
        }
        refuse_conflicts(tx.view(), &network)?;
        Ok(tx.create(network.clone())?)
    })
    .await?;
    Ok(CreateNetworkResponse { network: Some(door.written(&id)?) })
}

pub async fn list(
    door: &Door,
    request: ListNetworksRequest,
) -> Result<ListNetworksResponse, Refusal> {
    let view = door.view().await?;
    let shown = |n: &&Network| filter::passes(request.filters.as_ref(), *n, &[n.name()]);
    Ok(ListNetworksResponse { networks: view.all::<Network>().filter(shown).cloned().collect() })
}

pub async fn get(door: &Door, request: GetNetworkRequest) -> Result<GetNetworkResponse, Refusal> {
    let view = door.view().await?;
    Ok(GetNetworkResponse { network: Some(view.resolve::<Network>(&request.network)?.clone()) })
}

pub async fn remove(
    door: &Door,
    request: RemoveNetworkRequest,
) -> Result<RemoveNetworkResponse, Refusal> {
    let reference = request.network;
    if name::is_node_network(&reference) {
        let text = format!("{reference} is a pre-defined network and cannot be removed");
        return Err(Refusal::Conflict(text));
    }
    door.write_once(|tx| {
        let network = tx.view().resolve::<Network>(&reference)?.clone();
        refuse_use(tx.view(), &network)?;
        Ok(tx.remove::<Network>(&network.id)?)
    })
    .await?;
    Ok(RemoveNetworkResponse {})
}

fn refuse_use(view: &View, network: &Network) -> Result<(), Refusal> {
    if network.is_ingress() {
        let user = view.all::<Service>().find(|s| ports::of(s).any(ports::is_ingress));
        return match user {
            None => Ok(()),
            Some(service) => Err(Refusal::Conflict(format!(
                "ingress network cannot be removed because service {} depends on it",
                service.name()
            ))),
        };
    }
    let held = |spec: &ServiceSpec| {
        let networks = spec.task.as_ref().map_or(&[][..], |t| &t.networks);
        networks.iter().any(|n| n.target == network.id)
    };
    let users = material::users(view.services_using_network(&network.id), view, held);
    match users.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Conflict(format!(
            "network {} is in use by the following service(s): {}",
            network.name(),
            users.join(", ")
        ))),
    }
}

/// The spec with its defaults, if it is sound in itself.
fn checked(mut spec: NetworkSpec) -> Result<NetworkSpec, Refusal> {
    let name = spec.annotations.as_ref().map_or("", |a| &a.name).to_owned();
    name::local(&name).map_err(|e| Refusal::Invalid(e.to_string()))?;
    if name::is_node_network(&name) {
        return Err(Refusal::Taken(format!("network with name {name} already exists")));
    }
    if spec.driver.is_empty() {
        OVERLAY.clone_into(&mut spec.driver);
    }
    if spec.driver != OVERLAY {
        return Err(Refusal::Invalid(format!(
            "network {name}: driver {} is not supported, only overlay networks span nodes",
            spec.driver
        )));
    }
    if spec.ipv6 {
        return Err(Refusal::NotBuilt(format!("network {name}: ipv6 is not built yet")));
    }
    if spec.ingress && spec.attachable {
        return Err(Refusal::Invalid("ingress network cannot be attachable".into()));
    }
    check_options(&name, &spec)?;
    check_ipam(&name, &spec.ipam)?;
    Ok(spec)
}

fn check_options(name: &str, spec: &NetworkSpec) -> Result<(), Refusal> {
    for (key, value) in &spec.driver_opts {
        match (key.as_str(), value.as_str()) {
            ("encrypted", "false") => {}
            ("encrypted", _) => {
                return Err(Refusal::NotBuilt(format!(
                    "network {name}: encryption is not built yet; leave the option away or set it \
                     to false"
                )));
            }
            ("com.docker.network.driver.mtu", value) if value.parse::<u16>().is_ok() => {}
            _ => {
                return Err(Refusal::Invalid(format!(
                    "network {name}: driver option {key}={value} is not supported"
                )));
            }
        }
    }
    Ok(())
}

fn check_ipam(name: &str, ipam: &[IpamConfig]) -> Result<(), Refusal> {
    let Some(config) = ipam.first() else { return Ok(()) };
    if ipam.len() > 1 {
        let text =
            format!("network {name}: only one subnet is supported, {} are given", ipam.len());
        return Err(Refusal::NotBuilt(text));
    }
    if config.subnet.is_empty() {
        let text = "every ip-range or gateway must have a corresponding subnet";
        return Err(Refusal::Invalid(format!("network {name}: {text}")));
    }
    let bad = |what: &str, text: &str| {
        Refusal::Invalid(format!(
            "network {name}: {what} {text} is not valid or not in {}",
            config.subnet
        ))
    };
    let subnet: Ipv4Net = config.subnet.parse().map_err(|_| bad("subnet", &config.subnet))?;
    if subnet.prefix_len() > 29 {
        let text = format!("network {name}: subnet {subnet} is too small, /29 is the smallest");
        return Err(Refusal::Invalid(text));
    }
    if subnet.addr() != subnet.network() {
        return Err(Refusal::Invalid(format!(
            "network {name}: {subnet} has host bits set, did you mean {}",
            subnet.trunc()
        )));
    }
    let gateway = config.gateway.parse::<Ipv4Addr>();
    if !config.gateway.is_empty() && !gateway.is_ok_and(|g| subnet.contains(&g)) {
        return Err(bad("gateway", &config.gateway));
    }
    let range = config.ip_range.parse::<Ipv4Net>();
    if !config.ip_range.is_empty() && !range.is_ok_and(|r| subnet.contains(&r)) {
        return Err(bad("ip-range", &config.ip_range));
    }
    Ok(())
}

fn refuse_conflicts(view: &View, new: &Network) -> Result<(), Refusal> {
    if view.by_name::<Network>(new.name()).is_some() {
        let text = format!("network with name {} already exists", new.name());
        return Err(Refusal::Taken(text));
    }
    if new.is_ingress()
        && let Some(other) = view.all::<Network>().find(|n| n.is_ingress())
    {
        let text = format!("ingress network ({}) is already present", other.id);
        return Err(Refusal::Conflict(text));
    }
    let Some(wanted) = subnet_of(new) else { return Ok(()) };
    let overlap = view.all::<Network>().find_map(|other| {
        let theirs = subnet_of(other)?;
        (theirs.contains(&wanted) || wanted.contains(&theirs)).then_some((other, theirs))
    });
    match overlap {
        None => Ok(()),
        Some((other, theirs)) => Err(Refusal::Conflict(format!(
            "subnet {wanted} of network {} overlaps with subnet {theirs} of network {}",
            new.name(),
            other.name()
        ))),
    }
}

/// As allocated, else as wished.
fn subnet_of(network: &Network) -> Option<Ipv4Net> {
    let wished = network.spec.as_ref().and_then(|s| s.ipam.first()).map(|c| c.subnet.as_str());
    let text = match network.subnet.is_empty() {
        false => &network.subnet,
        true => wished?,
    };
    text.parse().ok()
}
