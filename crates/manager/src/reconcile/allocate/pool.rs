//! Free addresses per network, as one pass sees them: tasks and nodes count up from the bottom of the range, virtual
//! addresses of services down from the top.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use swarm_api::Network;

use super::is_overlay;
use super::subnet::no_subnet;
use crate::reconcile::draft::Draft;

/// The free addresses of all networks. Made from the whole state when a pass first needs one.
pub(in crate::reconcile) struct Pools {
    pools: BTreeMap<String, Pool>,
}

struct Pool {
    name: String,
    subnet: Ipv4Net,
    range: RangeInclusive<u32>,
    held: HashSet<u32>,
    /// Of tasks that have ended but are remembered: taken only when nothing else is free, since names and connections
    /// that point there may linger.
    warm: HashSet<u32>,
    low: u32,
    high: u32,
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
        let subnet: Ipv4Net = network.subnet.parse().ok()?;
        let asked = network.spec.as_ref().and_then(|s| s.ipam.first());
        let within = asked.and_then(|c| c.ip_range.parse::<Ipv4Net>().ok()).unwrap_or(subnet);
        let first = u32::from(subnet.network()).saturating_add(1).max(within.network().into());
        let last = u32::from(subnet.broadcast()).saturating_sub(1).min(within.broadcast().into());
        let gateway = network.gateway.parse::<Ipv4Addr>().ok().map(u32::from);
        Some(Pool {
            name: name_of(network).to_owned(),
            subnet,
            range: first..=last,
            held: gateway.into_iter().collect(),
            warm: HashSet::new(),
            low: first,
            high: last,
        })
    }

    fn lowest(&mut self) -> Option<u32> {
        while self.low <= *self.range.end() {
            let address = self.low;
            self.low += 1;
            if !self.held.contains(&address) && !self.warm.contains(&address) {
                return Some(address);
            }
        }
        self.range.clone().find(|a| !self.held.contains(a))
    }

    fn highest(&mut self) -> Option<u32> {
        while self.high >= *self.range.start() {
            let address = self.high;
            self.high -= 1;
            if !self.held.contains(&address) && !self.warm.contains(&address) {
                return Some(address);
            }
        }
        self.range.clone().rev().find(|a| !self.held.contains(a))
    }

    fn is_full(&self) -> String {
        format!(
            "no address is free in network {} ({}, {} addresses in use): remove services or tasks \
             from it, or create it anew with a larger --subnet",
            self.name,
            self.subnet,
            self.held.len()
        )
    }
}

fn name_of(network: &Network) -> &str {
    swarm_api::object::Stored::name(network)
}
