//! Encoder of one rule: a chain of expressions over 4-byte registers. Only the expressions that
//! `host` and `network` use; those about tracked flows are in `track`.

mod track;

mod clamp;
mod six;

use std::net::Ipv4Addr;

use crate::table::Policy;
use crate::wire::Buffer;

/// Name pattern of an unnamed map; the kernel fills in the number.
pub(super) const UNNAMED: &str = "__map%d";

/// First 4-byte register; the three after it hold the rest of a concatenation or a name.
const FIRST: u32 = 8;
const VERDICT_REGISTER: u32 = 0;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const CT_STATUS: u32 = 2;
/// Bit of the connection status: the destination was rewritten.
const STATUS_DNAT: u32 = 1 << 5;
const FIB_ADDRTYPE: u32 = 3;
const FIB_DADDR: u32 = 2;
const ADDRTYPE_LOCAL: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NAT_SOURCE: u32 = 0;
const NAT_TARGET: u32 = 1;
const FAMILY_IPV4: u32 = 2;
const NUMGEN_IN_TURN: u32 = 0;
const NUMGEN_RANDOM: u32 = 1;
const HASH_JENKINS: u32 = 0;
/// The same on every node, so that a client has the same backend wherever it comes in.
const HASH_SEED: u32 = 0x5357_4152;
const REJECT_ICMP: u32 = 0;
const REJECT_RESET: u32 = 1;
const ICMP_PORT_UNREACHABLE: u8 = 3;
const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;
const VERDICT_JUMP: u32 = -3_i32 as u32;
const NAME_LENGTH: usize = 16;

/// A rule under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule(Buffer);

impl Rule {
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Came in by the link of exactly this name.
    pub fn entering(self, name: &str) -> Self {
        self.meta(META_IIFNAME, 0).compare(EQUAL, 0, &padded(name))
    }

    /// Came in by a link whose name starts so.
    pub fn entering_any(self, prefix: &str) -> Self {
        self.meta(META_IIFNAME, 0).compare(EQUAL, 0, prefix.as_bytes())
    }

    /// Goes out by the link of exactly this name.
    pub fn leaving(self, name: &str) -> Self {
        self.meta(META_OIFNAME, 0).compare(EQUAL, 0, &padded(name))
    }

    /// Goes out by a link whose name starts so.
    pub fn leaving_any(self, prefix: &str) -> Self {
        self.meta(META_OIFNAME, 0).compare(EQUAL, 0, prefix.as_bytes())
    }

    /// Goes out by a link whose name does not start so.
    pub fn not_leaving_any(self, prefix: &str) -> Self {
        self.meta(META_OIFNAME, 0).compare(NOT_EQUAL, 0, prefix.as_bytes())
    }

    pub fn source_in(self, network: ipnet::Ipv4Net) -> Self {
        self.source(0).within(network)
    }

    pub fn target_in(self, network: ipnet::Ipv4Net) -> Self {
        self.target(0).within(network)
    }

    pub fn target_is_not(self, address: Ipv4Addr) -> Self {
        self.target(0).compare(NOT_EQUAL, 0, &address.octets())
    }

    pub fn tcp(self) -> Self {
        self.meta(META_L4PROTO, 0).compare(EQUAL, 0, &[6])
    }

    /// Addressed to this machine.
    pub fn for_this_machine(self) -> Self {
        self.expression("fib", |body| {
            body.number(1, FIRST);
            body.number(2, FIB_ADDRTYPE);
            body.number(3, FIB_DADDR);
        })
        .compare(EQUAL, 0, &ADDRTYPE_LOCAL.to_ne_bytes())
    }

    /// Of a connection whose destination was rewritten.
    pub fn redirected(self) -> Self {
        self.dnat_bit().compare(NOT_EQUAL, 0, &[0; 4])
    }

    /// Of a connection whose destination was not rewritten.
    pub fn not_redirected(self) -> Self {
        self.dnat_bit().compare(EQUAL, 0, &[0; 4])
    }

    /// Loads source and target address as the key.
    pub fn key_addresses(self) -> Self {
        self.source(0).target(1)
    }

    /// Loads the target address as the key.
    pub fn key_target(self) -> Self {
        self.target(0)
    }

    /// Loads protocol and target port as the key.
    pub fn key_port(self) -> Self {
        self.meta(META_L4PROTO, 0).payload(BASE_TRANSPORT, 2, 2, 1)
    }

    /// Loads target address, protocol and target port as the key.
    pub fn key_target_port(self) -> Self {
        self.target(0).meta(META_L4PROTO, 1).payload(BASE_TRANSPORT, 2, 2, 2)
    }

    /// The key is in the set.
    pub fn in_set(self, set: &str) -> Self {
        self.lookup(set, None, None)
    }

    /// Does what the map has for the key; goes on when it has nothing.
    pub fn verdict_map(self, map: &str) -> Self {
        self.lookup(map, None, Some(VERDICT_REGISTER))
    }

    /// Redirects to the address and port that the map has for the key.
    pub fn redirect_map(self, map: &str) -> Self {
        self.lookup(map, None, Some(FIRST)).nat(NAT_TARGET, Some(FIRST + 1))
    }

    /// Same, and silent TCP connections last as the timeout says.
    pub fn redirect_map_lasting(self, map: &str, timeout: &str) -> Self {
        let found = self.lookup(map, None, Some(FIRST)).lasting(timeout);
        found.nat(NAT_TARGET, Some(FIRST + 1))
    }

    /// Redirects to one of the addresses of an unnamed map.
    pub fn pick(self, policy: Policy, map: u32, count: usize, port: Option<u16>) -> Self {
        let rule = match policy {
            Policy::InTurn => self.number(NUMGEN_IN_TURN, count),
            Policy::Random => self.number(NUMGEN_RANDOM, count),
            Policy::SourceHash => self.source(0).hash(count),
        };
        rule.lookup(UNNAMED, Some(map), Some(FIRST)).redirect_loaded(port)
    }

    /// Redirects to one address.
    pub fn redirect(self, address: Ipv4Addr, port: Option<u16>) -> Self {
        self.load(0, &address.octets()).redirect_loaded(port)
    }

    /// Rewrites the source address.
    pub fn rewrite_source(self, address: Ipv4Addr) -> Self {
        self.load(0, &address.octets()).nat(NAT_SOURCE, None)
    }

    /// Rewrites the source to the address of the link it goes out by.
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    pub fn reset(self) -> Self {
        self.reject(REJECT_RESET)
    }

    pub fn unreachable(self) -> Self {
        self.reject(REJECT_ICMP)
    }

    pub fn drop(self) -> Self {
        self.verdict(VERDICT_DROP)
    }

    /// As it is; no later rule of the chain is asked.
    pub fn accept(self) -> Self {
        self.verdict(VERDICT_ACCEPT)
    }

    fn number(self, kind: u32, count: usize) -> Self {
        self.expression("numgen", |body| {
            body.number(1, FIRST);
            body.number(2, count as u32);
            body.number(3, kind);
        })
    }

    /// The hash of the first register, in its place.
    fn hash(self, count: usize) -> Self {
        self.hash_of(4, count)
    }

    /// The hash of so many bytes of the first registers.
    fn hash_of(self, length: u32, count: usize) -> Self {
        self.expression("hash", |body| {
            body.number(1, FIRST);
            body.number(2, FIRST);
            body.number(3, length);
            body.number(4, count as u32);
            body.number(5, HASH_SEED);
            body.number(7, HASH_JENKINS);
        })
    }

    fn verdict(self, code: u32) -> Self {
        self.expression("immediate", |body| {
            body.number(1, VERDICT_REGISTER);
            body.nested(2, |data| data.nested(2, |verdict| verdict.number(1, code)));
        })
    }

    fn redirect_loaded(self, port: Option<u16>) -> Self {
        match port {
            Some(port) => self.load(1, &port.to_be_bytes()).nat(NAT_TARGET, Some(FIRST + 1)),
            None => self.nat(NAT_TARGET, None),
        }
    }

    fn nat(self, kind: u32, port: Option<u32>) -> Self {
        self.expression("nat", |body| {
            body.number(1, kind);
            body.number(2, FAMILY_IPV4);
            body.number(3, FIRST);
            if let Some(port) = port {
                body.number(5, port);
            }
        })
    }

    fn reject(self, kind: u32) -> Self {
        self.expression("reject", |body| {
            body.number(1, kind);
            body.attribute(2, &[ICMP_PORT_UNREACHABLE]);
        })
    }

    fn source(self, register: u32) -> Self {
        self.payload(BASE_NETWORK, 12, 4, register)
    }

    fn target(self, register: u32) -> Self {
        self.payload(BASE_NETWORK, 16, 4, register)
    }

    fn within(self, network: ipnet::Ipv4Net) -> Self {
        let mask = network.netmask().octets();
        self.mask(&mask).compare(EQUAL, 0, &network.network().octets())
    }

    fn dnat_bit(self) -> Self {
        self.tracked(CT_STATUS).mask(&STATUS_DNAT.to_ne_bytes())
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", |body| {
            body.number(1, FIRST + register);
            body.number(2, key);
        })
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.expression("payload", |body| {
            body.number(1, FIRST + register);
            body.number(2, base);
            body.number(3, offset);
            body.number(4, length);
        })
    }

    fn mask(self, mask: &[u8; 4]) -> Self {
        self.expression("bitwise", |body| {
            body.number(1, FIRST);
            body.number(2, FIRST);
            body.number(3, 4);
            body.nested(4, |value| value.attribute(1, mask));
            body.nested(5, |value| value.attribute(1, &[0; 4]));
        })
    }

    fn compare(self, operation: u32, register: u32, value: &[u8]) -> Self {
        self.expression("cmp", |body| {
            body.number(1, FIRST + register);
            body.number(2, operation);
            body.nested(3, |data| data.attribute(1, value));
        })
    }

    fn load(self, register: u32, value: &[u8]) -> Self {
        self.expression("immediate", |body| {
            body.number(1, FIRST + register);
            body.nested(2, |data| data.attribute(1, value));
        })
    }

    fn lookup(self, set: &str, id: Option<u32>, into: Option<u32>) -> Self {
        self.expression("lookup", |body| {
            body.string(1, set);
            body.number(2, FIRST);
            if let Some(register) = into {
                body.number(3, register);
            }
            if let Some(id) = id {
                body.number(4, id);
            }
        })
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Buffer)) -> Self {
        self.0.nested(1, |element| {
            element.string(1, name);
            element.nested(2, data);
        });
        self
    }
}

/// Writes the verdict "jump to `chain`" as the data of a map element.
pub(super) fn jump(data: &mut Buffer, chain: &str) {
    data.nested(2, |verdict| {
        verdict.number(1, VERDICT_JUMP);
        verdict.string(2, chain);
    });
}

fn padded(name: &str) -> [u8; NAME_LENGTH] {
    let mut bytes = [0; NAME_LENGTH];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}
