//! Which addresses a new lab gets. Pure: the machine's routes are passed in.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// 198.18.0.0/15 is set aside for testing networks (RFC 2544): it is routed nowhere, and outside
/// the pools clusters give to their own networks.
const FIRST_SUBNET: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// /24 networks in it.
const SUBNETS: u32 = 512;

/// The first managers' and workers' last address byte; the machine itself is `.1`.
const FIRST_MANAGER: u8 = 11;
const FIRST_WORKER: u8 = 101;

/// How many of each fit into a subnet.
pub(crate) const MAX_MANAGERS: u8 = FIRST_WORKER - FIRST_MANAGER;
pub(crate) const MAX_WORKERS: u8 = 254 - FIRST_WORKER;

/// A subnet that overlaps none of `taken`, looking from a place that depends on `seed`, so that a
/// lab gets the same one again as a rule. `None` if all are taken.
pub(crate) fn choose(seed: u64, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let start = u32::try_from(seed % u64::from(SUBNETS)).unwrap_or(0);
    (0..SUBNETS)
        .map(|step| FIRST_SUBNET + (((start + step) % SUBNETS) << 8))
        .map(|base| Ipv4Net::new_assert(Ipv4Addr::from(base), 24))
        .find(|subnet| !taken.iter().any(|other| overlap(subnet, other)))
}

/// Whether two networks have an address in common.
pub(crate) fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// The machine's own address on the bridge.
pub(crate) fn machine(subnet: &Ipv4Net) -> Ipv4Addr {
    at(subnet, 1)
}

/// The address of manager `index` (from 0, below [`MAX_MANAGERS`]).
pub(crate) fn manager(subnet: &Ipv4Net, index: u8) -> Ipv4Addr {
    at(subnet, FIRST_MANAGER + index)
}

/// The address of worker `index` (from 0, below [`MAX_WORKERS`]).
pub(crate) fn worker(subnet: &Ipv4Net, index: u8) -> Ipv4Addr {
    at(subnet, FIRST_WORKER + index)
}

/// Addresses that hosts may have.
pub(crate) fn hosts(subnet: &Ipv4Net) -> std::ops::RangeInclusive<Ipv4Addr> {
    at(subnet, FIRST_MANAGER)..=at(subnet, 253)
}

fn at(subnet: &Ipv4Net, last: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + u32::from(last))
}

/// A number that is the same for the same text in every process and release (FNV-1a).
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_that_overlaps_a_route_is_passed_over() {
        assert_eq!(choose(0, &[]), Some(net("198.18.0.0/24")));
        assert_eq!(choose(511, &[]), Some(net("198.19.255.0/24")));
        assert_eq!(choose(0, &[net("198.18.0.7/32")]), Some(net("198.18.1.0/24")));
        assert_eq!(choose(0, &[net("198.18.0.0/16")]), Some(net("198.19.0.0/24")));
        assert_eq!(choose(511, &[net("198.19.255.0/24")]), Some(net("198.18.0.0/24")));
        assert_eq!(choose(3, &[net("198.18.0.0/15")]), None);
    }

    #[test]
    fn managers_workers_and_the_machine_never_share_an_address() {
        let subnet = net("198.18.4.0/24");
        assert_eq!(machine(&subnet), Ipv4Addr::new(198, 18, 4, 1));
        assert_eq!(manager(&subnet, MAX_MANAGERS - 1), Ipv4Addr::new(198, 18, 4, 100));
        assert_eq!(worker(&subnet, 0), Ipv4Addr::new(198, 18, 4, 101));
        assert_eq!(worker(&subnet, MAX_WORKERS - 1), Ipv4Addr::new(198, 18, 4, 253));
    }
}
