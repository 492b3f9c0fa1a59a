//! IPv6 subnets: a /64 of the cluster's own for each network that asks for IPv6 and names none.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};
use swarm_api::Network;

use super::subnet::named_pools;
use crate::reconcile::draft::Draft;

/// Prefix length of the subnets that are cut from pools.
pub(super) const LENGTH: u8 = 64;

/// The network's subnet and gateway: as asked for, else a free one of the pool and its first address.
pub(super) fn subnet_of(draft: &Draft<'_>, network: &Network) -> Option<(Ipv6Net, Ipv6Addr)> {
    let ipam = network.spec.as_ref().map_or(&[][..], |s| &s.ipam);
    let asked = ipam.iter().find_map(|c| Some((c, c.subnet.parse::<Ipv6Net>().ok()?)));
    let subnet = asked.map(|(_, net)| net).or_else(|| free(draft, &network.id))?;
    let first = Ipv6Addr::from_bits(subnet.network().to_bits() | 1);
    let gateway = asked.and_then(|(config, _)| config.gateway.parse().ok());
    Some((subnet, gateway.unwrap_or(first)))
}

/// The pool that the cluster names, else one of unique local addresses (RFC 4193) that its random id leads to.
pub(super) fn pool(draft: &Draft<'_>) -> Ipv6Net {
    let named = named_pools(draft).into_iter().find_map(|pool| match pool {
        IpNet::V6(pool) => Some(pool),
        IpNet::V4(_) => None,
    });
    named.unwrap_or_else(|| own(draft.view.cluster().map_or("", |c| &c.id)))
}

fn own(cluster_id: &str) -> Ipv6Net {
    let global = u128::from(hash(cluster_id) >> 24);
    Ipv6Net::new_assert(Ipv6Addr::from_bits(0xfd << 120 | global << 80), 48)
}

/// Where the network's own random id leads to, and from there the next that no network has.
fn free(draft: &Draft<'_>, network_id: &str) -> Option<Ipv6Net> {
    let pool = pool(draft);
    let taken: BTreeSet<Ipv6Net> = draft.all_networks().filter_map(claimed).collect();
    let count = count(pool);
    let start = hash(network_id) % count;
    // One more than there are networks is enough.
    let tries = count.min(taken.len() as u64 + 1);
    let candidates = (0..tries).map(|n| nth(pool, (start + n) % count));
    candidates.into_iter().find(|net| !taken.iter().any(|t| t.contains(net) || net.contains(t)))
}

/// How many subnets a pool has.
pub(super) fn count(pool: Ipv6Net) -> u64 {
    1_u64 << LENGTH.saturating_sub(pool.prefix_len()).min(63)
}

fn nth(pool: Ipv6Net, n: u64) -> Ipv6Net {
    let address = pool.network().to_bits() | u128::from(n) << (128 - LENGTH);
    Ipv6Net::new_assert(Ipv6Addr::from_bits(address), LENGTH)
}

/// What the network has, or asks for.
pub(super) fn claimed(network: &Network) -> Option<Ipv6Net> {
    let ipam = network.spec.as_ref().map_or(&[][..], |s| &s.ipam);
    network.six().or_else(|| ipam.iter().find_map(|c| c.subnet.parse().ok()))
}

/// FNV-1a, whose low bits are the better ones mixed into the high ones.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ hash << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_pools_of_their_own() {
        let (one, two) = (own("abc"), own("abd"));
        assert_ne!(one, two);
        assert!(one.to_string().starts_with("fd") && one.prefix_len() == 48, "{one}");
        assert_eq!(count(one), 1 << 16);
        assert!(one.contains(&nth(one, 0xffff)));
    }
}
