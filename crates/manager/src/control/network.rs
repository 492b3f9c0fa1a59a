//! Overlay networks. Their VNI, subnet and gateway are allocated by a pass; a subnet that the user names is checked here.

mod ipam;

use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::View;

use super::{Door, filter, material, ports};
use crate::object_id;
use crate::reconcile;
use crate::refusal::Refusal;

pub use ipam::meeting;

/// The only driver of networks that span nodes.
pub const OVERLAY: &str = "overlay";
/// Docker's name of the option for the MTU.
const DOCKERS_MTU: &str = "com.docker.network.driver.mtu";
/// Bytes that VXLAN over IPv4 adds to a packet.
const OVERHEAD: u32 = 50;
/// What fits into a datagram beside the headers of VXLAN.
const LARGEST_MTU: u32 = 65_485;

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
    let network: Network = door.written(&id)?;
    let warnings = ipam::warnings(&door.store.view(), &network);
    Ok(CreateNetworkResponse { network: Some(network), warnings })
}

/// Changes labels, and grows subnets; the rest of a network is what its tasks were started with.
pub async fn update(
    door: &Door,
    request: UpdateNetworkRequest,
) -> Result<UpdateNetworkResponse, Refusal> {
    let missing = || {
        let id = &request.network_id;
        Refusal::Invalid(format!("the update of network {id} carries no spec"))
    };
    let wanted = checked(request.spec.clone().ok_or_else(missing)?)?;
    let network: Network = door
        .change(&request.network_id, |tx| {
            let mut network = tx.view().resolve::<Network>(&request.network_id)?.clone();
            let id = network.id.clone();
            let spec = network.spec.clone().unwrap_or_default();
            let without = |spec: &NetworkSpec| {
                let annotations = spec.annotations.clone().unwrap_or_default();
                let annotations = Annotations { labels: Default::default(), ..annotations };
                NetworkSpec { annotations: Some(annotations), ipam: vec![], ..spec.clone() }
            };
            if without(&spec) != without(&wanted) {
                let name = network.name();
                return Err(Refusal::Invalid(format!(
                    "network {name}: only updates to labels, and subnets that grow, are allowed"
                )));
            }
            ipam::refuse_shrinking(&network, &wanted)?;
            network.spec = Some(wanted.clone());
            ipam::refuse_overlaps(tx.view(), &network)?;
            ipam::refuse_meetings(tx.view(), &network)?;
            material::expect_version(&mut network, request.version);
            tx.update(network)?;
            Ok(id)
        })
        .await?;
    let warnings = ipam::warnings(&door.store.view(), &network);
    Ok(UpdateNetworkResponse { network: Some(network), warnings })
}

/// Who has how many addresses.
pub async fn usage(
    door: &Door,
    request: GetAddressUsageRequest,
) -> Result<GetAddressUsageResponse, Refusal> {
    let view = door.view().await?;
    let service = match request.service.as_str() {
        "" => None,
        service => Some(view.resolve::<Service>(service)?),
    };
    let mut wanted = Vec::new();
    for network in &request.networks {
        wanted.push(view.resolve::<Network>(network)?.id.clone());
    }
    let mut usage = reconcile::usage(&view, service.map(|s| (s, request.replicas)));
    usage.networks.retain(|n| wanted.is_empty() || wanted.contains(&n.network_id));
    Ok(usage)
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
        let text = format!("operation is not permitted on predefined {name} network");
        return Err(Refusal::Invalid(text));
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
    if spec.ingress && spec.ipv6 {
        let text = format!("network {name}: IPv6 of the ingress network is not built yet");
        return Err(Refusal::NotBuilt(text));
    }
    if spec.ingress && spec.attachable {
        return Err(Refusal::Invalid("ingress network cannot be attachable".into()));
    }
    check_options(&name, &spec)?;
    ipam::check(&name, &spec)?;
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
            ("mtu" | DOCKERS_MTU, value) => check_mtu(name, spec, value)?,
            _ => {
                return Err(Refusal::Invalid(format!(
                    "network {name}: driver option {key}={value} is not supported"
                )));
            }
        }
    }
    Ok(())
}

/// From what every IP host must take to the largest datagram that VXLAN can carry.
fn check_mtu(name: &str, spec: &NetworkSpec, value: &str) -> Result<(), Refusal> {
    let least = if spec.ipv6 { 1280 } else { 576 };
    match value.parse::<u32>() {
        Ok(mtu) if (least..=LARGEST_MTU).contains(&mtu) => Ok(()),
        _ => Err(Refusal::Invalid(format!(
            "network {name}: mtu {value} is out of range, want {least} to {LARGEST_MTU}"
        ))),
    }
}

/// Refuses an MTU for which no node's underlay is wide enough.
fn refuse_unfit(view: &View, new: &Network) -> Result<(), Refusal> {
    let options = new.spec.as_ref().map(|s| &s.driver_opts);
    let asked = options.and_then(|o| o.get("mtu").or_else(|| o.get(DOCKERS_MTU)));
    let Some(asked) = asked.and_then(|text| text.parse::<u32>().ok()) else { return Ok(()) };
    let told = view.all::<Node>().map(|n| n.description.as_ref().map_or(0, |d| d.data_path_mtu));
    let told: Vec<u32> = told.collect();
    let widest = told.iter().max().copied().unwrap_or_default();
    let most = widest.saturating_sub(OVERHEAD);
    match told.contains(&0) || asked <= most {
        true => Ok(()),
        false => Err(Refusal::Invalid(format!(
            "network {}: mtu {asked} is out of range: no node's underlay carries more than \
             {widest} bytes, of which VXLAN takes {OVERHEAD}, so {most} is the most",
            new.name()
        ))),
    }
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
    refuse_unfit(view, new)?;
    ipam::refuse_overlaps(view, new)
}
