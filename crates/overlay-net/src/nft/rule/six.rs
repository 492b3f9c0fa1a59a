//! Expressions about IPv6 addresses, each of which takes four registers.

use std::net::Ipv6Addr;

use super::{
    BASE_NETWORK, EQUAL, FIRST, NAT_SOURCE, NAT_TARGET, NUMGEN_IN_TURN, NUMGEN_RANDOM, REJECT_ICMP,
    REJECT_RESET, Rule, UNNAMED,
};
use crate::table::Policy;

const FAMILY_IPV6: u32 = 10;
const ICMPV6_PORT_UNREACHABLE: u8 = 4;
const FIB_OIF: u32 = 1;
const FIB_SADDR: u32 = 1;
const FIB_IIF: u32 = 8;
/// Registers of an address.
const WORDS: u32 = 4;

impl Rule {
    /// Came from an address to which no route leads back by the same link.
    pub fn source6_is_foreign(self) -> Self {
        let route = self.expression("fib", |body| {
            body.number(1, FIRST);
            body.number(2, FIB_OIF);
            body.number(3, FIB_SADDR | FIB_IIF);
        });
        route.compare(EQUAL, 0, &[0; 4])
    }

    /// Loads the target address as the key.
    pub fn key_target6(self) -> Self {
        self.payload(BASE_NETWORK, 24, 16, 0)
    }

    /// Loads source and target address as the key.
    pub fn key_addresses6(self) -> Self {
        self.payload(BASE_NETWORK, 8, 16, 0).payload(BASE_NETWORK, 24, 16, WORDS)
    }

    /// Redirects to one address.
    pub fn redirect6(self, address: Ipv6Addr) -> Self {
        self.load(0, &address.octets()).nat6(NAT_TARGET)
    }

    /// Redirects to one of the addresses of an unnamed map.
    pub fn pick6(self, policy: Policy, map: u32, count: usize) -> Self {
        let rule = match policy {
            Policy::InTurn => self.number(NUMGEN_IN_TURN, count),
            Policy::Random => self.number(NUMGEN_RANDOM, count),
            Policy::SourceHash => self.payload(BASE_NETWORK, 8, 16, 0).hash_of(16, count),
        };
        rule.lookup(UNNAMED, Some(map), Some(FIRST)).nat6(NAT_TARGET)
    }

    /// Rewrites the source address.
    pub fn rewrite_source6(self, address: Ipv6Addr) -> Self {
        self.load(0, &address.octets()).nat6(NAT_SOURCE)
    }

    pub fn reset6(self) -> Self {
        self.reject6(REJECT_RESET)
    }

    pub fn unreachable6(self) -> Self {
        self.reject6(REJECT_ICMP)
    }

    fn nat6(self, kind: u32) -> Self {
        self.expression("nat", |body| {
            body.number(1, kind);
            body.number(2, FAMILY_IPV6);
            body.number(3, FIRST);
        })
    }

    fn reject6(self, kind: u32) -> Self {
        self.expression("reject", |body| {
            body.number(1, kind);
            body.attribute(2, &[ICMPV6_PORT_UNREACHABLE]);
        })
    }
}
