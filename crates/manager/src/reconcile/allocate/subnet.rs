//! Subnets and VXLAN ids of networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use swarm_api::Network;

use super::is_overlay;
use crate::reconcile::draft::Draft;

/// First VXLAN id handed out; the small ones are left to those who number their own.
const FIRST_VNI: u32 = 4096;
/// Last one that fits in 24 bits.
const LAST_VNI: u32 = (1 << 24) - 1;
/// Where subnets are cut from if the cluster names no pool.
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// Prefix length of the subnets if the cluster names none: 4,094 addresses each.
const DEFAULT_SIZE: u8 = 20;

/// Gives every overlay network that lacks them a VXLAN id, a subnet and a gateway; the ingress network is served first.
pub(in crate::reconcile) fn allocate_networks(draft: &mut Draft<'_>) {
    let lacking = |n: &&Network| is_overlay(n) && (n.vni == 0 || n.subnet.is_empty());
    let mut waiting: Vec<Network> = draft.all_networks().filter(lacking).cloned().collect();
    waiting.sort_by_key(|n| (!n.is_ingress(), n.id.clone()));
    for mut network in waiting {
        if network.vni == 0 {
            network.vni = free_vni(draft, &network.id).unwrap_or(0);
        }
        if network.subnet.is_empty()
            && let Some((subnet, gateway)) = subnet_of(draft, &network)
        {
            network.subnet = subnet.to_string();
            network.gateway = gateway.to_string();
        }
        draft.networks.insert(network.id.clone(), network);
    }
}

/// Where the network's own random id leads to, and from there the next that is free: so the VXLAN id of a network that
/// was removed is not taken up at once, while nodes may still tear that network down.
fn free_vni(draft: &Draft<'_>, network_id: &str) -> Option<u32> {
    let used: std::collections::BTreeSet<u32> = draft.all_networks().map(|n| n.vni).collect();
    let start = FIRST_VNI + hash(network_id) % (LAST_VNI - FIRST_VNI + 1);
    (start..=LAST_VNI).chain(FIRST_VNI..start).find(|vni| !used.contains(vni))
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn subnet_of(draft: &Draft<'_>, network: &Network) -> Option<(Ipv4Net, Ipv4Addr)> {
    let asked = network.spec.as_ref().and_then(|s| s.ipam.first());
    let own = asked.and_then(|c| c.subnet.parse::<Ipv4Net>().ok()).map(|n| n.trunc());
    let subnet = own.or_else(|| free_subnet(draft))?;
    let first = Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1));
    Some((subnet, asked.and_then(|c| c.gateway.parse().ok()).unwrap_or(first)))
}

/// The first of the pools' subnets that no network has and that holds no address of a node.
fn free_subnet(draft: &Draft<'_>) -> Option<Ipv4Net> {
    let (pools, size) = pools_of(draft);
    // What is asked for belongs to its network before it is allocated.
    let asked = |n: &Network| n.spec.as_ref().and_then(|s| s.ipam.first()?.subnet.parse().ok());
    let taken: Vec<Ipv4Net> =
        draft.all_networks().flat_map(|n| [n.subnet.parse().ok(), asked(n)]).flatten().collect();
    let hosts: Vec<Ipv4Addr> = draft
        .all_nodes()
        .flat_map(|n| {
            let status = n.status.as_ref().map(|s| s.addr.as_str());
            let data = n.description.as_ref().map(|d| d.data_path_addr.as_str());
            [status, data]
        })
        .flatten()
        .filter_map(ipv4)
        .collect();
    let overlaps = |net: &Ipv4Net, other: &Ipv4Net| net.contains(other) || other.contains(net);
    pools.iter().filter_map(|pool| pool.subnets(size.max(pool.prefix_len())).ok()).flatten().find(
        |net| !taken.iter().any(|t| overlaps(net, t)) && !hosts.iter().any(|h| net.contains(h)),
    )
}

fn pools_of(draft: &Draft<'_>) -> (Vec<Ipv4Net>, u8) {
    let cluster = draft.view.cluster();
    let mut pools: Vec<Ipv4Net> = cluster
        .map_or(&[][..], |c| &c.default_addr_pool)
        .iter()
        .filter_map(|p| p.parse().ok())
        .collect();
    if pools.is_empty() {
        pools.extend(DEFAULT_POOL.parse::<Ipv4Net>());
    }
    let size = cluster.map_or(0, |c| c.subnet_size);
    let size = u8::try_from(size).ok().filter(|s| (1..=30).contains(s)).unwrap_or(DEFAULT_SIZE);
    (pools, size)
}

/// An address with or without a port.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let bare = text.parse::<IpAddr>().ok();
    match bare.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))? {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    }
}

/// What to say when there was no subnet for a network.
pub(super) fn no_subnet(draft: &Draft<'_>, name: &str) -> String {
    let (pools, size) = pools_of(draft);
    let pools: Vec<String> = pools.iter().map(ToString::to_string).collect();
    format!(
        "no subnet is free for network {name} (pool {}, /{size} each): \
         remove networks that are not used or create it with --subnet",
        pools.join(", ")
    )
}
