//! Who has how many addresses, and how many subnets are left: the allocator's own arithmetic, told to users.

use ipnet::Ipv4Net;
use swarm_api::object::Stored;
use swarm_api::{
    GetAddressUsageResponse, Network, NetworkUsage, NodeAvailability, PoolUsage, Service,
    service_spec,
};
use swarm_raft_store::View;

use super::is_overlay;
use super::pool::Pools;
use super::service::networks_of;
use super::six;
use super::subnet::{pools_of, taken};
use crate::reconcile::draft::Draft;

/// A service that had so many replicas.
pub type Wish<'a> = (&'a Service, u64);

/// What all networks and pools have, and what `wish` would take more at most.
pub fn usage(view: &View, wish: Option<Wish<'_>>) -> GetAddressUsageResponse {
    let mut no_ids = String::new;
    let draft = Draft::new(view, 0, &mut no_ids);
    let pools = Pools::of(&draft);
    let overlays = draft.all_networks().filter(|n| is_overlay(n));
    let mut networks: Vec<NetworkUsage> =
        overlays.map(|network| of_network(&draft, &pools, network)).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(wish) = wish {
        add_wish(&draft, wish, &mut networks);
    }
    GetAddressUsageResponse { networks, pools: of_pools(&draft) }
}

fn of_network(draft: &Draft<'_>, pools: &Pools, network: &Network) -> NetworkUsage {
    let here = |id: &str, address: &str| id == network.id && !address.is_empty();
    let services = draft.all_services().flat_map(|s| &s.endpoint).flat_map(|e| &e.virtual_ips);
    let services = services.filter(|v| here(&v.network_id, &v.address)).count() as u64;
    let nodes = draft.all_nodes().flat_map(|n| &n.attachments);
    let nodes = nodes.filter(|a| here(&a.network_id, &a.address)).count() as u64;
    let tasks = draft.all_tasks().filter(|t| !t.is_terminal()).flat_map(|t| &t.networks);
    let tasks = tasks.filter(|a| here(&a.network_id, &a.address)).count() as u64;
    let pool = pools.get(&network.id);
    let (size, free) = pool.map_or((0, 0), |pool| (pool.size(), pool.left()));
    let mut subnets: Vec<String> = network.subnets().iter().map(ToString::to_string).collect();
    subnets.extend(network.six().map(|net| net.to_string()));
    NetworkUsage {
        network_id: network.id.clone(),
        name: network.name().to_owned(),
        subnets,
        size,
        services,
        nodes,
        tasks,
        reserved: (size - free).saturating_sub(services + nodes + tasks),
        free,
        ..NetworkUsage::default()
    }
}

/// Each task more takes an address; so does each node that gets its first task of the network.
fn add_wish(draft: &Draft<'_>, (service, replicas): Wish<'_>, networks: &mut [NetworkUsage]) {
    let now = match service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        Some(service_spec::Mode::Replicated(mode)) => mode.replicas,
        _ => return,
    };
    let more = replicas.saturating_sub(now);
    for id in networks_of(draft, service).unwrap_or_default() {
        let Some(usage) = networks.iter_mut().find(|u| u.network_id == id) else { continue };
        let newcomers = draft.all_nodes().filter(|node| {
            let active = node.spec.as_ref().map(|s| s.availability());
            node.is_ready()
                && active == Some(NodeAvailability::Active)
                && node.attachments.iter().all(|a| a.network_id != id)
        });
        usage.more_tasks = more;
        usage.more_nodes = more.min(newcomers.count() as u64);
    }
}

fn of_pools(draft: &Draft<'_>) -> Vec<PoolUsage> {
    let (pools, size) = pools_of(draft);
    let taken = taken(draft);
    let mut all: Vec<PoolUsage> =
        pools.iter().map(|pool| of_pool(*pool, size.max(pool.prefix_len()), &taken)).collect();
    let pool = six::pool(draft);
    let used = draft.all_networks().filter_map(six::claimed).filter(|net| pool.contains(net));
    let subnets = six::count(pool);
    all.push(PoolUsage {
        pool: pool.to_string(),
        length: six::LENGTH.into(),
        subnets,
        free: subnets.saturating_sub(used.count() as u64),
    });
    all
}

/// Which of the pool's subnets are touched by what is taken.
fn of_pool(pool: Ipv4Net, length: u8, taken: &[Ipv4Net]) -> PoolUsage {
    let number = |address: std::net::Ipv4Addr| {
        u64::from(address.to_bits() - pool.network().to_bits()) >> (32 - length)
    };
    let mut touched: Vec<(u64, u64)> = taken
        .iter()
        .filter_map(|net| match pool.contains(net) {
            true => Some((number(net.network()), number(net.broadcast()))),
            false => net.contains(&pool).then(|| (0, number(pool.broadcast()))),
        })
        .collect();
    touched.sort_unstable();
    let (mut used, mut next) = (0, 0);
    for (first, last) in touched {
        let first = first.max(next);
        if first <= last {
            used += last - first + 1;
            next = last + 1;
        }
    }
    let subnets = 1_u64 << (length - pool.prefix_len());
    PoolUsage { pool: pool.to_string(), length: length.into(), subnets, free: subnets - used }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_counts_each_touched_subnet_once() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let free = |taken: &[&str]| {
            let taken: Vec<Ipv4Net> = taken.iter().map(|t| net(t)).collect();
            of_pool(net("10.9.0.0/16"), 20, &taken).free
        };
        assert_eq!(free(&[]), 16);
        assert_eq!(free(&["10.9.0.0/20", "10.9.1.0/24", "10.9.16.7/32"]), 14);
        assert_eq!(free(&["10.9.0.0/18", "10.9.32.0/20", "192.168.0.0/24"]), 12);
        assert_eq!(free(&["10.0.0.0/8"]), 0);
    }
}
