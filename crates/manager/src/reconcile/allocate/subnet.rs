//! Subnets and VXLAN ids of networks. Where IPv6 subnets are cut from is in `six`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use swarm_api::Network;
use swarm_api::subnet::overlap;

use super::{is_overlay, six};
use crate::reconcile::draft::Draft;

/// First VXLAN id handed out; the small ones are left to those who number their own.
const FIRST_VNI: u32 = 4096;
/// Last one that fits in 24 bits.
const LAST_VNI: u32 = (1 << 24) - 1;
/// Where subnets are cut from if the cluster names no pool.
const DEFAULT_POOL: &str = "10.0.0.0/8";
/// Prefix length of the subnets if the cluster names none: 4,094 addresses each.
const DEFAULT_SIZE: u8 = 20;

/// Gives every overlay network what it lacks of a VXLAN id, subnets and a gateway; the ingress network is served first.
/// One whose subnets were grown gets the new ones; its gateway stays.
pub(in crate::reconcile) fn allocate_networks(draft: &mut Draft<'_>) {
    let mut waiting: Vec<Network> =
        draft.all_networks().filter(|n| is_overlay(n) && lacks(n)).cloned().collect();
    waiting.sort_by_key(|n| (!n.is_ingress(), n.id.clone()));
    for mut network in waiting {
        if network.vni == 0 {
            network.vni = free_vni(draft, &network.id).unwrap_or(0);
        }
        give_subnets(draft, &mut network);
        if network.spec.as_ref().is_some_and(|s| s.ipv6)
            && network.subnet6.is_empty()
            && let Some((subnet, gateway)) = six::subnet_of(draft, &network)
        {
            network.subnet6 = subnet.to_string();
            network.gateway6 = gateway.to_string();
        }
        draft.networks.insert(network.id.clone(), network);
    }
}

fn lacks(network: &Network) -> bool {
    let asked = network.asked_subnets();
    let six = network.spec.as_ref().is_some_and(|s| s.ipv6) && network.subnet6.is_empty();
    network.vni == 0
        || network.subnet.is_empty()
        || six
        || (!asked.is_empty() && asked != network.subnets())
}

fn give_subnets(draft: &Draft<'_>, network: &mut Network) {
    let asked = network.asked_subnets();
    if !network.subnet.is_empty() && asked.is_empty() {
        return;
    }
    let mut subnets = asked.into_iter();
    let Some(first) = subnets.next().or_else(|| free_subnet(draft)) else { return };
    network.subnet = first.to_string();
    network.more_subnets = subnets.map(|net| net.to_string()).collect();
    if network.gateway.is_empty() {
        let ipam = network.spec.as_ref().map_or(&[][..], |s| &s.ipam);
        let asked = ipam.iter().find_map(|config| config.gateway.parse::<Ipv4Addr>().ok());
        let lowest = Ipv4Addr::from(u32::from(first.network()).saturating_add(1));
        network.gateway = asked.unwrap_or(lowest).to_string();
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

/// The first of the pools' subnets that no network has and that holds no address of a node.
fn free_subnet(draft: &Draft<'_>) -> Option<Ipv4Net> {
    let (pools, size) = pools_of(draft);
    let taken = taken(draft);
    pools
        .iter()
        .filter_map(|pool| pool.subnets(size.max(pool.prefix_len())).ok())
        .flatten()
        .find(|net| !taken.iter().any(|t| overlap(net, t)))
}

/// What no subnet may be cut from: the networks' own, and the addresses of nodes.
pub(super) fn taken(draft: &Draft<'_>) -> Vec<Ipv4Net> {
    // What is asked for belongs to its network before it is allocated.
    let networks = draft.all_networks().flat_map(Network::claimed_subnets);
    let hosts = draft.all_nodes().flat_map(|n| {
        let status = n.status.as_ref().map(|s| s.addr.as_str());
        let data = n.description.as_ref().map(|d| d.data_path_addr.as_str());
        [status, data]
    });
    networks.chain(hosts.flatten().filter_map(ipv4).map(Ipv4Net::from)).collect()
}

/// The cluster's pools, as it names them or by default.
pub(super) fn named_pools(draft: &Draft<'_>) -> Vec<IpNet> {
    let named = draft.view.cluster().map_or(&[][..], |c| &c.default_addr_pool);
    named.iter().filter_map(|pool| pool.parse().ok()).collect()
}

/// The IPv4 pools, and the prefix length of the subnets cut from them.
pub(super) fn pools_of(draft: &Draft<'_>) -> (Vec<Ipv4Net>, u8) {
    let named = named_pools(draft).into_iter();
    let mut pools: Vec<Ipv4Net> = named
        .filter_map(|pool| match pool {
            IpNet::V4(pool) => Some(pool),
            IpNet::V6(_) => None,
        })
        .collect();
    if pools.is_empty() {
        pools.extend(DEFAULT_POOL.parse::<Ipv4Net>());
    }
    let size = draft.view.cluster().map_or(0, |c| c.subnet_size);
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
