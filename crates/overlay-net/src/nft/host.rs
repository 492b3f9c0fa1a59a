//! The rules of the host's namespace: published ports lead to the uplink of the network that
//! answers them, traffic of containers leaves masqueraded, networks do not reach each other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::rule::Rule;
use super::{
    ADDRESS_PORT, ADDRESS_PROTOCOL_PORT, Batch, Data, Element, FORWARD, Hook, OUTPUT, POSTROUTING,
    PREROUTING, PROTOCOL_PORT,
};
use crate::naming::UPLINK_PREFIX;
use crate::table::{IDLE_MAX, Protocol};
use crate::uplink;

/// Ports on any address, and ports on one address, of the host.
const ANY: &str = "ports";
const ONE: &str = "ports-of-address";
/// The host may forget other connections sooner; how long these last is for their network to say.
const LASTING: &str = "lasting";

/// Before connection tracking.
const RAW: Hook = Hook { kind: "filter", point: PREROUTING, priority: -300 };
const BEFORE: Hook = Hook { kind: "nat", point: PREROUTING, priority: -100 };
const LOCAL: Hook = Hook { kind: "nat", point: OUTPUT, priority: -100 };
const THROUGH: Hook = Hook { kind: "filter", point: FORWARD, priority: 0 };
const AFTER: Hook = Hook { kind: "nat", point: POSTROUTING, priority: 100 };

/// A port of the host; on one of its addresses when given.
pub(crate) type PortKey = (Option<Ipv4Addr>, Protocol, u16);

/// What the host's rules depend on: where each published port leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostRules {
    /// There are networks; without any there is no table.
    pub active: bool,
    /// To the network's end of an uplink and a port there.
    pub ports: BTreeMap<PortKey, (Ipv4Addr, u16)>,
}

impl HostRules {
    /// The whole table, replacing what is there.
    pub fn replace(&self) -> Batch {
        let mut batch = Batch::new();
        if !self.active {
            batch.drop_table();
            return batch;
        }
        batch.reset_table();
        batch.timeout(LASTING, IDLE_MAX);
        batch.set(ANY, PROTOCOL_PORT, Some(ADDRESS_PORT));
        batch.set(ONE, ADDRESS_PROTOCOL_PORT, Some(ADDRESS_PORT));
        let (one, any): (Vec<_>, Vec<_>) = self.ports.iter().partition(|(key, _)| key.0.is_some());
        batch.add_elements(ANY, &any.into_iter().map(element).collect::<Vec<_>>());
        batch.add_elements(ONE, &one.into_iter().map(element).collect::<Vec<_>>());
        for (name, hook) in [("before", BEFORE), ("local", LOCAL)] {
            batch.chain(name, Some(hook));
            let here = || Rule::new().for_this_machine();
            batch.rule(name, &here().key_target_port().redirect_map_lasting(ONE, LASTING));
            // A resolver of the host on 127.0.0.53 keeps its port.
            let other = Rule::new().target_in(uplink::LOOPBACK);
            batch.rule(name, &other.target_is_not(Ipv4Addr::LOCALHOST).accept());
            batch.rule(name, &here().key_port().redirect_map_lasting(ANY, LASTING));
        }
        guard(&mut batch);
        leave(&mut batch);
        batch
    }
}

/// Containers reach neither the host's loopback nor each other's networks, published ports apart.
fn guard(batch: &mut Batch) {
    batch.chain("guard", Some(RAW));
    let loopback = Rule::new().entering_any(UPLINK_PREFIX).target_in(uplink::LOOPBACK);
    batch.rule("guard", &loopback.drop());
    batch.chain("through", Some(THROUGH));
    let across = Rule::new().entering_any(UPLINK_PREFIX).leaving_any(UPLINK_PREFIX);
    batch.rule("through", &across.not_redirected().drop());
}

fn leave(batch: &mut Batch) {
    batch.chain("after", Some(AFTER));
    // The host's own connection to its loopback address, redirected to a container.
    let own = Rule::new().source_in(uplink::LOOPBACK).leaving_any(UPLINK_PREFIX);
    batch.rule("after", &own.masquerade());
    // A container's connection to a published port: the answer must come back through here.
    let across = Rule::new().entering_any(UPLINK_PREFIX).leaving_any(UPLINK_PREFIX);
    batch.rule("after", &across.masquerade());
    let out: Ipv4Net = uplink::RANGE;
    batch.rule("after", &Rule::new().source_in(out).not_leaving_any(UPLINK_PREFIX).masquerade());
}

fn element((key, to): (&PortKey, &(Ipv4Addr, u16))) -> Element {
    let (address, protocol, port) = *key;
    let mut bytes = Vec::with_capacity(12);
    if let Some(address) = address {
        bytes.extend(address.octets());
    }
    bytes.extend(super::port_key(protocol, port));
    (bytes, Data::Value(super::address_port(to.0, to.1)))
}
