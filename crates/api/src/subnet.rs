//! Subnets of networks: which ones a network has, and how its IPv6 addresses follow from the IPv4 ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::generated::Network;

/// Longest prefix of an IPv6 subnet: what is left holds an IPv4 address.
pub const LONGEST_SIX: u8 = 96;

/// The IPv6 address of whoever has `address` in a network whose IPv6 subnet is `subnet`. So IPv6 addresses are given out
/// with the IPv4 ones, and are unique as these are.
pub fn six(subnet: Ipv6Net, address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(subnet.network().to_bits() | u128::from(address.to_bits()))
}

/// The IPv4 address whose IPv6 address in `subnet` this is; nobody's if it is none.
pub fn carried(subnet: Ipv6Net, address: Ipv6Addr) -> Option<Ipv4Addr> {
    let rest = address.to_bits().checked_sub(subnet.network().to_bits())?;
    u32::try_from(rest).ok().map(Ipv4Addr::from_bits)
}

/// Whether two subnets have an address in common.
pub fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

impl Network {
    /// Its IPv4 subnets as allocated, the gateway's first; none before that.
    pub fn subnets(&self) -> Vec<Ipv4Net> {
        let all = std::iter::once(&self.subnet).chain(&self.more_subnets);
        all.filter_map(|text| text.parse().ok()).collect()
    }

    /// Its IPv4 subnets as asked for, the gateway's first; none if the cluster is to choose.
    pub fn asked_subnets(&self) -> Vec<Ipv4Net> {
        let ipam = self.spec.as_ref().map_or(&[][..], |s| &s.ipam);
        ipam.iter().filter_map(|config| config.subnet.parse().ok()).collect()
    }

    /// Those that it has or will have.
    pub fn claimed_subnets(&self) -> Vec<Ipv4Net> {
        let mut all = self.subnets();
        all.extend(self.asked_subnets());
        all
    }

    /// Its IPv6 subnet as allocated, if it has one.
    pub fn six(&self) -> Option<Ipv6Net> {
        self.subnet6.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_carries_the_ipv4_one() {
        let subnet: Ipv6Net = "fd12:3456:789a:1::/64".parse().unwrap();
        let four: Ipv4Addr = "10.0.16.5".parse().unwrap();
        let six = six(subnet, four);
        assert_eq!(six.to_string(), "fd12:3456:789a:1::a00:1005");
        assert_eq!(carried(subnet, six), Some(four));
        assert_eq!(carried(subnet, "fd12:3456:789a:1:1::".parse().unwrap()), None);
        assert_eq!(carried(subnet, "fd12::1".parse().unwrap()), None);
    }

    #[test]
    fn a_network_has_the_subnets_of_all_its_configurations() {
        let network = Network {
            subnet: "10.1.0.0/24".into(),
            more_subnets: vec!["10.2.0.0/24".into()],
            ..Network::default()
        };
        assert_eq!(network.subnets().len(), 2);
        assert!(overlap(&network.subnets()[1], &"10.2.0.128/25".parse().unwrap()));
        assert!(network.six().is_none());
    }
}
