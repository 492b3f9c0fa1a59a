//! Free addresses per network, as one pass sees them: tasks and nodes count up from the bottom of the ranges, virtual
//! addresses of services down from the top.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use swarm_api::{IpamConfig, Network, subnet};

use super::is_overlay;
use super::subnet::no_subnet;
use crate::reconcile::draft::Draft;

/// The free addresses of all networks. Made from the whole state when a pass first needs one.
pub(in crate::reconcile) struct Pools {
    pools: BTreeMap<String, Pool>,
}

pub(super) struct Pool {
    name: String,
    subnets: Vec<Ipv4Net>,
    ranges: Vec<RangeInclusive<u32>>,
    held: HashSet<u32>,
    /// Of tasks that have ended but are remembered: taken only when nothing else is free, since names and connections
    /// that point there may linger.
    warm: HashSet<u32>,
    /// How many addresses were looked at from below, and from above.
    low: u64,
    high: u64,
}

impl Pools {
    pub(in crate::reconcile) fn of(draft: &Draft<'_>) -> Pools {
        let overlays = draft.all_networks().filter(|n| is_overlay(n));
        let mut pools: BTreeMap<String, Pool> =
            overlays.filter_map(|n| Some((n.id.clone(), Pool::of(n)?))).collect();
        let mut hold = |network: &str, address: &str, live: bool| {
            let Some(pool) = pools.get_mut(network) else { return };
            let Ok(address) = address.parse::<Ipv4Addr>().map(u32::from) else { return };
            let set = if live { &mut pool.held } else { &mut pool.warm };
            set.insert(address);
        };
        for service in draft.all_services() {
            for vip in service.endpoint.iter().flat_map(|e| &e.virtual_ips) {
                hold(&vip.network_id, &vip.address, true);
            }
        }
        for node in draft.all_nodes() {
            node.attachments.iter().for_each(|a| hold(&a.network_id, &a.address, true));
        }
        for task in draft.all_tasks() {
            let live = !task.is_terminal();
            task.networks.iter().for_each(|a| hold(&a.network_id, &a.address, live));
        }
        Pools { pools }
    }

    /// An address for a task or a node; if there is none, why.
    pub(in crate::reconcile) fn take(
        &mut self,
        draft: &Draft<'_>,
        network_id: &str,
    ) -> Result<String, String> {
        self.taken(draft, network_id, Pool::lowest)
    }

    /// An address for a service; if there is none, why.
    pub(in crate::reconcile) fn take_virtual(
        &mut self,
        draft: &Draft<'_>,
        network_id: &str,
    ) -> Result<String, String> {
        self.taken(draft, network_id, Pool::highest)
    }

    /// Gives back what was taken in this pass, or is not needed any more.
    pub(in crate::reconcile) fn free(&mut self, network_id: &str, address: &str) {
        if let Some(pool) = self.pools.get_mut(network_id)
            && let Ok(address) = address.parse::<Ipv4Addr>().map(u32::from)
        {
            pool.held.remove(&address);
            pool.warm.insert(address);
        }
    }

    pub(super) fn get(&self, network_id: &str) -> Option<&Pool> {
        self.pools.get(network_id)
    }

    fn taken(
        &mut self,
        draft: &Draft<'_>,
        network_id: &str,
        choose: fn(&mut Pool) -> Option<u32>,
    ) -> Result<String, String> {
        let name = || draft.network(network_id).map_or(network_id, |n| name_of(n)).to_owned();
        let Some(pool) = self.pools.get_mut(network_id) else {
            return Err(no_subnet(draft, &name()));
        };
        let address = choose(pool).ok_or_else(|| pool.is_full())?;
        pool.held.insert(address);
        Ok(Ipv4Addr::from(address).to_string())
    }
}

impl Pool {
    fn of(network: &Network) -> Option<Pool> {
        let subnets = network.subnets();
        if subnets.is_empty() {
            return None;
        }
        let ipam = network.spec.as_ref().map_or(&[][..], |s| &s.ipam);
        let ranges: Vec<_> = subnets.iter().map(|subnet| range(subnet, ipam)).collect();
        let mut pool = Pool {
            name: name_of(network).to_owned(),
            subnets,
            ranges,
            held: set_aside(network, ipam),
            warm: HashSet::new(),
            low: 0,
            high: 0,
        };
        pool.held.retain(|address| pool.ranges.iter().any(|range| range.contains(address)));
        Some(pool)
    }

    /// How many addresses can be given out at all.
    pub(super) fn size(&self) -> u64 {
        self.ranges.iter().map(length).sum()
    }

    /// How many of them nobody holds.
    pub(super) fn left(&self) -> u64 {
        let inside = |address: &&u32| self.ranges.iter().any(|range| range.contains(address));
        self.size().saturating_sub(self.held.iter().filter(inside).count() as u64)
    }

    fn lowest(&mut self) -> Option<u32> {
        while let Some(address) = self.at(self.low) {
            self.low += 1;
            if !self.held.contains(&address) && !self.warm.contains(&address) {
                return Some(address);
            }
        }
        self.ranges.iter().cloned().flatten().find(|a| !self.held.contains(a))
    }

    fn highest(&mut self) -> Option<u32> {
        let size = self.size();
        while self.high < size {
            self.high += 1;
            let address = self.at(size - self.high)?;
            if !self.held.contains(&address) && !self.warm.contains(&address) {
                return Some(address);
            }
        }
        self.ranges.iter().rev().flat_map(|r| r.clone().rev()).find(|a| !self.held.contains(a))
    }

    /// The n-th address.
    fn at(&self, mut position: u64) -> Option<u32> {
        for range in &self.ranges {
            if position < length(range) {
                return u32::try_from(u64::from(*range.start()) + position).ok();
            }
            position -= length(range);
        }
        None
    }

    fn is_full(&self) -> String {
        let subnets: Vec<String> = self.subnets.iter().map(ToString::to_string).collect();
        let (name, size) = (&self.name, self.size());
        format!(
            "no address is free in network {name} ({}, {} of {size} in use): grow it with \
             'swarmctl network update --add-subnet CIDR {name}', or remove services or tasks from \
             it",
            subnets.join(", "),
            size - self.left()
        )
    }
}

/// What can be given out of a subnet: all but its first and last address, or the range that was asked for.
fn range(subnet: &Ipv4Net, ipam: &[IpamConfig]) -> RangeInclusive<u32> {
    let asked = ipam.iter().find(|c| c.subnet.parse() == Ok(*subnet));
    let within = asked.and_then(|c| c.ip_range.parse::<Ipv4Net>().ok()).unwrap_or(*subnet);
    let first = u32::from(subnet.network()).saturating_add(1).max(within.network().into());
    let last = u32::from(subnet.broadcast()).saturating_sub(1).min(within.broadcast().into());
    first..=last
}

/// Gateways and reserved addresses; an IPv6 one stands for the IPv4 address that it carries.
fn set_aside(network: &Network, ipam: &[IpamConfig]) -> HashSet<u32> {
    let gateways = [&network.gateway, &network.gateway6];
    let reserved = ipam.iter().flat_map(|config| config.reserved.values());
    let all = gateways.into_iter().chain(reserved).filter_map(|text| text.parse::<IpAddr>().ok());
    all.filter_map(|address| match address {
        IpAddr::V4(address) => Some(address.to_bits()),
        IpAddr::V6(address) => Some(subnet::carried(network.six()?, address)?.to_bits()),
    })
    .collect()
}

fn length(range: &RangeInclusive<u32>) -> u64 {
    (u64::from(*range.end()) + 1).saturating_sub(u64::from(*range.start()))
}

fn name_of(network: &Network) -> &str {
    swarm_api::object::Stored::name(network)
}
