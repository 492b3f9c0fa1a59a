//! IPv6 of a network: the same paths as for IPv4, to the addresses that carry the IPv4 ones. All
//! neighbours are known beforehand, so there is neither discovery nor duplicate detection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::Network;
use super::plan::Found;
use crate::error::Result;
use crate::link::{Neighbour6, Route6};
use crate::naming;
use crate::table::{NetworkTable, Six};

/// What the kernel should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    routes: BTreeMap<Ipv6Net, Route6>,
    neighbours: BTreeSet<(u32, Neighbour6)>,
}

impl Network {
    /// Makes addresses, routes and neighbours as the table says. Returns the changes made.
    pub(super) async fn apply_six(
        &self,
        table: &NetworkTable,
        lo: u32,
        found: &Found,
    ) -> Result<usize> {
        let Some(six) = self.record.six else { return Ok(0) };
        let mut changes = self.addresses_six(six, lo).await?;
        let plan = plan(table, six, found);
        let present: BTreeSet<_> = self.links.neighbours6().await?.into_iter().collect();
        for (link, entry) in plan.neighbours.difference(&present) {
            self.links.set_neighbour6(*link, *entry).await?;
            changes += 1;
        }
        let routes = self.links.routes6().await?;
        let wrong = plan.routes.iter().filter(|(to, route)| routes.get(to) != Some(route));
        let wrong: Vec<_> = wrong.map(|(to, route)| (*to, *route)).collect();
        if !wrong.is_empty() {
            changes += wrong.len();
            self.links.set_routes6(wrong).await?;
        }
        // The addresses on lo have routes of the kernel's own.
        let own = [six.gateway, six.of(self.record.node_address)].map(Ipv6Net::from);
        let stale = |to: &&Ipv6Net| !plan.routes.contains_key(to) && !own.contains(to);
        for to in routes.keys().filter(stale) {
            self.links.delete_route6(*to).await?;
            changes += 1;
        }
        let owned = |(link, _): &&(u32, Neighbour6)| Some(*link) == found.vxlan;
        for (link, entry) in present.difference(&plan.neighbours).filter(owned) {
            self.links.delete_neighbour6(*link, *entry).await?;
            changes += 1;
        }
        Ok(changes)
    }

    /// The gateway's and this node's own address.
    async fn addresses_six(&self, six: Six, lo: u32) -> Result<usize> {
        let present = self.links.addresses6().await?;
        let wanted = [six.gateway, six.of(self.record.node_address)];
        let mut changes = 0;
        for address in wanted.iter().filter(|a| !present.contains(&(lo, **a))) {
            self.links.add_address_at(lo, IpAddr::V6(*address), 128, true).await?;
            changes += 1;
        }
        let stale = |(link, address): &&(u32, Ipv6Addr)| {
            *link == lo && !address.is_loopback() && !wanted.contains(address)
        };
        for (link, address) in present.iter().filter(stale) {
            self.links.delete_address6(*link, *address).await?;
            changes += 1;
        }
        Ok(changes)
    }
}

fn plan(table: &NetworkTable, six: Six, found: &Found) -> Plan {
    let mut plan = Plan::default();
    plan.routes.insert(six.subnet.trunc(), Route6::Unreachable);
    if let Some(link) = found.vxlan {
        let mut gateways = BTreeMap::new();
        for peer in &table.peers {
            let (address, mac) = (six.of(peer.node_address), naming::node_mac(peer.node_address));
            gateways.insert(peer.underlay, address);
            plan.neighbours.insert((link, Neighbour6 { address, mac }));
            plan.routes.insert(Ipv6Net::from(address), Route6::Link { link });
        }
        for endpoint in &table.endpoints {
            if let Some(gateway) = gateways.get(&endpoint.underlay) {
                let route = Route6::Via { gateway: *gateway, link };
                plan.routes.insert(Ipv6Net::from(six.of(endpoint.address)), route);
            }
        }
    }
    for (address, link) in &found.ports {
        let (six, mac) = (six.of(*address), naming::endpoint_mac(*address));
        plan.routes.insert(Ipv6Net::from(six), Route6::Link { link: *link });
        plan.neighbours.insert((*link, Neighbour6 { address: six, mac }));
    }
    plan
}
