//! The rules of one network's namespace: virtual addresses and ports lead to backends in turn,
//! connections that must come back this way are given an address of this node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::rule::Rule;
use super::{
    ADDRESS, ADDRESS_ADDRESS, ADDRESS_PORT, Batch, Data, Element, Hook, POSTROUTING, PREROUTING,
    PROTOCOL_PORT, VERDICT, address_port, port_key,
};
use crate::naming::UPLINK_INNER;
use crate::table::Protocol;

/// Virtual address to chain; ingress port to chain; host port to container; container to itself.
const VIPS: &str = "vips";
const INGRESS: &str = "ingress";
const HOST: &str = "host";
const SELF: &str = "self";

const BEFORE: Hook = Hook { kind: "nat", point: PREROUTING, priority: -100 };
const AFTER: Hook = Hook { kind: "nat", point: POSTROUTING, priority: 100 };

/// What a network's rules depend on. Two equal values mean equal rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    pub base: Base,
    /// Where new connections go, in turn.
    pub targets: BTreeMap<Entry, Target>,
    /// Ports that the host sends here for one container.
    pub host: BTreeMap<(Protocol, u16), (Ipv4Addr, u16)>,
}

/// The part whose change replaces the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub subnet: Ipv4Net,
    pub node_address: Ipv4Addr,
    /// The network's end of its uplink, when it has one.
    pub uplink: Option<Ipv4Addr>,
    pub ingress: bool,
}

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Vip(Ipv4Addr),
    Port(Protocol, u16),
}

/// Who answers; on `port` when it differs from what the client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub backends: Vec<Ipv4Addr>,
    pub port: Option<u16>,
}

impl NetworkRules {
    /// The whole table, replacing what is there.
    pub fn replace(&self) -> Batch {
        let mut batch = Batch::new();
        batch.reset_table();
        batch.set(VIPS, ADDRESS, Some(VERDICT));
        batch.set(INGRESS, PROTOCOL_PORT, Some(VERDICT));
        batch.set(HOST, PROTOCOL_PORT, Some(ADDRESS_PORT));
        batch.set(SELF, ADDRESS_ADDRESS, None);
        self.base.chains(&mut batch);
        let nothing = BTreeMap::new();
        change_targets(&mut batch, &nothing, &self.targets);
        change_host(&mut batch, &BTreeMap::new(), &self.host);
        change_self(&mut batch, &nothing, &self.targets);
        batch
    }

    /// What turns the rules of `old` into these.
    pub fn change(&self, old: &Self) -> Batch {
        if self.base != old.base {
            return self.replace();
        }
        let mut batch = Batch::new();
        change_targets(&mut batch, &old.targets, &self.targets);
        change_host(&mut batch, &old.host, &self.host);
        change_self(&mut batch, &old.targets, &self.targets);
        batch
    }
}

impl Base {
    fn chains(&self, batch: &mut Batch) {
        batch.chain("before", Some(BEFORE));
        batch.chain("after", Some(AFTER));
        let outside = || Rule::new().entering(UPLINK_INNER);
        if self.uplink.is_some() {
            batch.rule("before", &outside().key_port().verdict_map(INGRESS));
            batch.rule("before", &outside().key_port().redirect_map(HOST));
        }
        batch.rule("before", &Rule::new().key_target().verdict_map(VIPS));
        if let Some(uplink) = self.uplink {
            batch.rule("after", &Rule::new().leaving(UPLINK_INNER).rewrite_source(uplink));
            // A container answers to this node when its own route leads elsewhere.
            let foreign = if self.ingress { outside() } else { outside().source_in(self.subnet) };
            batch.rule("after", &foreign.rewrite_source(self.node_address));
        }
        let back = Rule::new().redirected().key_addresses().in_set(SELF);
        batch.rule("after", &back.rewrite_source(self.node_address));
    }
}

impl Entry {
    fn chain(self) -> String {
        match self {
            Self::Vip(address) => format!("vip-{address}"),
            Self::Port(protocol, port) => format!("port-{protocol}-{port}"),
        }
    }

    fn map(self) -> &'static str {
        match self {
            Self::Vip(_) => VIPS,
            Self::Port(..) => INGRESS,
        }
    }

    fn element(self) -> Element {
        let key = match self {
            Self::Vip(address) => address.octets().to_vec(),
            Self::Port(protocol, port) => port_key(protocol, port).to_vec(),
        };
        (key, Data::Jump(self.chain()))
    }
}

impl Target {
    fn rules(&self, batch: &mut Batch, chain: &str) {
        match self.backends.as_slice() {
            [] => {
                batch.rule(chain, &Rule::new().tcp().reset());
                batch.rule(chain, &Rule::new().unreachable());
            }
            [one] => batch.rule(chain, &Rule::new().redirect(*one, self.port)),
            many => {
                let map = batch.numbered(many);
                batch.rule(chain, &Rule::new().pick(map, many.len(), self.port));
            }
        }
    }
}

type Targets = BTreeMap<Entry, Target>;

fn change_targets(batch: &mut Batch, old: &Targets, new: &Targets) {
    let (gone, came) = (only_in(old, new), only_in(new, old));
    for map in [VIPS, INGRESS] {
        batch.delete_elements(map, &elements(&gone, map));
    }
    for entry in &gone {
        batch.flush_chain(&entry.chain());
        batch.delete_chain(&entry.chain());
    }
    for (entry, target) in new {
        let chain = entry.chain();
        match old.get(entry) {
            Some(same) if same == target => continue,
            Some(_) => batch.flush_chain(&chain),
            None => batch.chain(&chain, None),
        }
        target.rules(batch, &chain);
    }
    for map in [VIPS, INGRESS] {
        batch.add_elements(map, &elements(&came, map));
    }
}

fn elements(entries: &[Entry], map: &str) -> Vec<Element> {
    entries.iter().filter(|entry| entry.map() == map).map(|entry| entry.element()).collect()
}

fn change_host(
    batch: &mut Batch,
    old: &BTreeMap<(Protocol, u16), (Ipv4Addr, u16)>,
    new: &BTreeMap<(Protocol, u16), (Ipv4Addr, u16)>,
) {
    let element = |(key, to): (&(Protocol, u16), &(Ipv4Addr, u16))| -> Element {
        (port_key(key.0, key.1).to_vec(), Data::Value(address_port(to.0, to.1)))
    };
    let changed = |(key, to): &(&(Protocol, u16), &(Ipv4Addr, u16))| new.get(key) != Some(*to);
    let gone: Vec<_> = old.iter().filter(changed).map(element).collect();
    let came: Vec<_> =
        new.iter().filter(|(key, to)| old.get(key) != Some(to)).map(element).collect();
    batch.delete_elements(HOST, &gone);
    batch.add_elements(HOST, &came);
}

/// A container that reaches itself through a virtual address must not see its own address.
fn change_self(batch: &mut Batch, old: &Targets, new: &Targets) {
    let (old, new) = (backends(old), backends(new));
    batch.delete_elements(SELF, &only_in(&old, &new).iter().map(itself).collect::<Vec<_>>());
    batch.add_elements(SELF, &only_in(&new, &old).iter().map(itself).collect::<Vec<_>>());
}

fn itself(address: &Ipv4Addr) -> Element {
    let octets = address.octets();
    ([octets, octets].concat(), Data::None)
}

fn backends(targets: &Targets) -> BTreeMap<Ipv4Addr, ()> {
    targets.values().flat_map(|target| target.backends.iter().map(|a| (*a, ()))).collect()
}

fn only_in<K: Ord + Copy, V>(here: &BTreeMap<K, V>, there: &BTreeMap<K, V>) -> Vec<K> {
    here.keys().filter(|key| !there.contains_key(key)).copied().collect()
}
