//! The rules of one network's namespace: virtual addresses and ports lead to backends, connections
//! that must come back this way are given an address of this node. What only the ingress network
//! has is in `entry`.

mod entry;
mod six;

pub(crate) use self::entry::UPLINK_ENTRY;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::rule::Rule;
use super::{
    ADDRESS, ADDRESS_ADDRESS, ADDRESS_PORT, Batch, Data, Element, FORWARD, Hook, POSTROUTING,
    PREROUTING, PROTOCOL_PORT, VERDICT, address_port, port_key,
};
use crate::link::Mac;
use crate::naming::UPLINK_INNER;
use crate::table::{Balance, Protocol, Six};

/// Virtual address to chain; ingress port to chain; host port to container; container to itself.
const VIPS: &str = "vips";
const INGRESS: &str = "ingress";
const HOST: &str = "host";
const SELF: &str = "self";

const BEFORE: Hook = Hook { kind: "nat", point: PREROUTING, priority: -100 };
const CLAMP: Hook = Hook { kind: "filter", point: FORWARD, priority: -150 };
const AFTER: Hook = Hook { kind: "nat", point: POSTROUTING, priority: 100 };

/// What a network's rules depend on. Two equal values mean equal rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    pub base: Base,
    /// Where new connections go, in turn.
    pub targets: BTreeMap<Entry, Target>,
    /// Ports that the host sends here for one container.
    pub host: BTreeMap<(Protocol, u16), (Ipv4Addr, u16)>,
    /// Of the ingress network: the other nodes, by hardware address, with their numbers.
    pub entries: BTreeMap<Mac, u16>,
    /// Of the ingress network: containers that may answer, and not begin, what leads out.
    pub closed: BTreeSet<Ipv4Addr>,
}

/// The part whose change replaces the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub subnets: Vec<Ipv4Net>,
    pub six: Option<Six>,
    pub node_address: Ipv4Addr,
    /// The network's end of its uplink, when it has one.
    pub uplink: Option<Ipv4Addr>,
    /// The link to the other nodes, of the ingress network.
    pub ingress: Option<String>,
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
    pub balance: Balance,
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
        if self.base.ingress.is_some() {
            entry::sets(&mut batch);
        }
        self.base.chains(&mut batch);
        six::replace(&mut batch, self);
        let base = self.base.clone();
        self.differ(&Self { base, ..Self::default() }, &mut batch);
        batch
    }

    /// What turns the rules of `old` into these.
    pub fn change(&self, old: &Self) -> Batch {
        if self.base != old.base {
            return self.replace();
        }
        let mut batch = Batch::new();
        self.differ(old, &mut batch);
        batch
    }

    fn differ(&self, old: &Self, batch: &mut Batch) {
        change_targets(batch, &old.targets, &self.targets);
        change_host(batch, &old.host, &self.host);
        change_self(batch, &old.targets, &self.targets);
        entry::change(batch, old, self);
        six::change(batch, self.base.six, &old.targets, &self.targets);
    }
}

impl Default for Base {
    fn default() -> Self {
        let nowhere = Ipv4Addr::UNSPECIFIED;
        Self { subnets: vec![], six: None, node_address: nowhere, uplink: None, ingress: None }
    }
}

impl Base {
    fn chains(&self, batch: &mut Batch) {
        clamp(batch);
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
        }
        match &self.ingress {
            Some(trunk) => entry::rules(batch, trunk),
            // A container answers to this node when its own route leads elsewhere.
            None if self.uplink.is_some() => {
                for subnet in &self.subnets {
                    let foreign = outside().source_in(*subnet);
                    batch.rule("after", &foreign.rewrite_source(self.node_address));
                }
            }
            None => {}
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
        if self.backends.is_empty() {
            batch.rule(chain, &Rule::new().tcp().reset());
            batch.rule(chain, &Rule::new().unreachable());
            return;
        }
        // A connection that is not remembered any more: both ends must know.
        batch.rule(chain, &Rule::new().tcp_not_opening().reset());
        if let Some(idle) = self.balance.idle {
            batch.rule(chain, &Rule::new().lasting(&timeout(idle)));
        }
        match self.backends.as_slice() {
            [one] => batch.rule(chain, &Rule::new().redirect(*one, self.port)),
            many => {
                let map = batch.numbered(many);
                let policy = self.balance.policy;
                batch.rule(chain, &Rule::new().pick(policy, map, many.len(), self.port));
            }
        }
    }
}

/// Name of a timeout of silent connections.
fn timeout(seconds: u32) -> String {
    format!("idle-{seconds}")
}

fn timeouts(targets: &Targets) -> BTreeMap<u32, ()> {
    let used = targets.values().filter(|target| !target.backends.is_empty());
    used.filter_map(|target| Some((target.balance.idle?, ()))).collect()
}

/// Connections fit the way also when one of their ends does not know how narrow it is.
fn clamp(batch: &mut Batch) {
    batch.chain("clamp", Some(CLAMP));
    batch.rule("clamp", &Rule::new().clamp_mss());
}

type Targets = BTreeMap<Entry, Target>;

fn change_targets(batch: &mut Batch, old: &Targets, new: &Targets) {
    let (gone, came) = (only_in(old, new), only_in(new, old));
    let (before, now) = (timeouts(old), timeouts(new));
    only_in(&now, &before).iter().for_each(|idle| batch.timeout(&timeout(*idle), *idle));
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
    only_in(&before, &now).iter().for_each(|idle| batch.delete_timeout(&timeout(*idle)));
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
