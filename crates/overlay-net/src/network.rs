//! One network on this node: its namespace, its links to the other nodes and to the host, its
//! routes and rules. Apply compares the kernel with the table and repairs the difference.

mod detour;
mod plan;
mod six;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;

use self::plan::{Found, plan};
pub(crate) use self::plan::{NodePart, inner_ports, rules};
use crate::conntrack;
use crate::error::{NetError, Result};
use crate::link::{Link, Links, Route, Veth, Vxlan};
use crate::naming;
use crate::netns::{self, NetNs};
use crate::nft::Firewall;
use crate::nft::network::NetworkRules;
use crate::record::NetworkRecord;
use crate::sysctl;
use crate::table::NetworkTable;
use crate::uplink;

/// A VXLAN device whose namespace has just ended lingers for a moment: tries and pause.
const VXLAN_TRIES: u32 = 30;
const VXLAN_PAUSE: Duration = Duration::from_millis(100);

/// The host's side, as a network needs it.
#[derive(Clone, Debug)]
pub(crate) struct HostSide {
    pub links: Links,
    pub underlay: Ipv4Addr,
    pub vxlan_port: u16,
}

/// One network, open.
#[derive(Debug)]
pub(crate) struct Network {
    pub record: NetworkRecord,
    pub links: Links,
    /// The table applied last; none after adoption.
    pub table: Option<NetworkTable>,
    firewall: Firewall,
    rules: Option<NetworkRules>,
}

/// Containers of this node, by address: name of their link.
pub(crate) type LocalPorts = BTreeMap<Ipv4Addr, String>;

impl Network {
    /// Opens the namespace pinned at `pin`, making it when there is none.
    pub async fn open(record: NetworkRecord, pin: &Path) -> Result<Self> {
        let fresh = !netns::is_pinned(pin);
        let ns = NetNs::create(pin).await?;
        let links = Links::open(&ns).await?;
        if fresh {
            links.set_up("lo").await?;
        }
        sysctl::network(&ns).await?;
        if record.six.is_some() {
            sysctl::network_six(&ns).await?;
        }
        let firewall = Firewall::open(&ns).await?;
        Ok(Self { record, links, table: None, firewall, rules: None })
    }

    pub fn ns(&self) -> &NetNs {
        self.links.ns()
    }

    /// Makes links, addresses, routes and neighbours as the table says, given the namespace's
    /// containers and links. Returns the changes made.
    pub async fn apply(
        &mut self,
        host: &HostSide,
        table: &NetworkTable,
        (local, links): (&LocalPorts, &[Link]),
    ) -> Result<usize> {
        let mut changes = self.trunks(host, links).await?;
        let relisted = if changes > 0 { Some(self.links.list().await?) } else { None };
        let links = relisted.as_deref().unwrap_or(links);
        let index = |name: &str| links.iter().find(|l| l.name == name).map(|l| l.index);
        let lo = index("lo");
        let lo = lo.ok_or_else(|| NetError::kernel("look up link lo", nix::Error::ENODEV))?;
        changes += self.addresses(lo).await?;
        let found = Found {
            vxlan: index(&naming::vxlan(self.record.vni)),
            uplink: index(naming::UPLINK_INNER)
                .map(|link| (link, uplink::host_end(self.record.slot))),
            ports: local.iter().filter_map(|(a, name)| Some((*a, index(name)?))).collect(),
        };
        changes += self.paths(table, &found).await?;
        changes += self.apply_six(table, lo, &found).await?;
        changes += self.ways_back(table, &found).await?;
        Ok(changes)
    }

    /// Makes the rules as given; without looking further when nobody touched them since.
    pub async fn set_rules(&mut self, rules: NetworkRules) -> Result<usize> {
        let batch = match &self.rules {
            Some(old) if self.firewall.is_untouched().await? => rules.change(old),
            _ => rules.replace(),
        };
        if batch.is_empty() {
            return Ok(0);
        }
        self.rules = None;
        let what = || format!("set the rules of network {}", self.record.name);
        self.firewall.commit(batch, what).await?;
        self.rules = Some(rules);
        Ok(1)
    }

    /// Deletes the tracked flows of dead containers; returns how many.
    pub async fn cut(&self, dead: Vec<Ipv4Addr>) -> Result<usize> {
        if dead.is_empty() {
            return Ok(0);
        }
        conntrack::cut_both(self.ns(), move |flow| dead.iter().any(|a| flow.touches(*a))).await
    }

    /// Deletes links that would otherwise outlive the namespace for a while, then the pin.
    pub async fn remove(self, host: &HostSide, pin: &Path) -> Result<()> {
        host.links.delete(&naming::uplink(&self.record.id)).await?;
        for link in self.links.list().await? {
            if link.name != "lo" {
                self.links.delete(&link.name).await?;
            }
        }
        netns::delete(pin)
    }

    /// The ways of answers to requests from outside.
    async fn ways_back(&self, table: &NetworkTable, found: &Found) -> Result<usize> {
        if !table.ingress {
            return Ok(0);
        }
        let (wanted, present) = (detour::detours(table, found), self.links.detours().await?);
        let mut changes = 0;
        for (select, route) in wanted.iter().filter(|(key, to)| present.get(*key) != Some(to)) {
            self.links.set_detour(*select, *route).await?;
            changes += 1;
        }
        for select in present.keys().filter(|key| !wanted.contains_key(key)) {
            self.links.delete_detour(*select).await?;
            changes += 1;
        }
        Ok(changes)
    }

    /// Backends of the last table that are in this one neither backends nor containers.
    fn abandoned(&self, table: &NetworkTable, found: &Found) -> Vec<Ipv4Addr> {
        let backends = |table: &NetworkTable| -> BTreeSet<Ipv4Addr> {
            table.services.iter().flat_map(|service| service.backends.iter().copied()).collect()
        };
        let Some(last) = &self.table else { return vec![] };
        let (before, now) = (backends(last), backends(table));
        let mut gone: Vec<_> = before.difference(&now).copied().collect();
        gone.retain(|address| !found.ports.contains_key(address));
        if !gone.is_empty() {
            let alive: BTreeSet<_> = table.endpoints.iter().map(|e| e.address).collect();
            gone.retain(|address| !alive.contains(address));
        }
        gone
    }

    /// The links to the other nodes and to the host.
    async fn trunks(&self, host: &HostSide, links: &[Link]) -> Result<usize> {
        let mut changes = 0;
        for link in links.iter().filter(|l| l.vxlan.is_some() && !self.is_right(l, host)) {
            self.links.delete(&link.name).await?;
            changes += 1;
        }
        for link in links.iter().filter(|l| self.is_right(l, host) && l.mtu != self.record.mtu) {
            self.links.set_mtu(&link.name, self.record.mtu).await?;
            changes += 1;
        }
        if self.record.vni != 0 && !links.iter().any(|link| self.is_right(link, host)) {
            self.add_vxlan(host).await?;
            changes += 1;
        }
        let inner = links.iter().any(|link| link.name == naming::UPLINK_INNER && link.up);
        if self.record.internal {
            let outer = naming::uplink(&self.record.id);
            if inner {
                host.links.delete(&outer).await?;
                changes += 1;
            }
            return Ok(changes);
        }
        Ok(changes + self.uplink(host, inner).await?)
    }

    fn is_right(&self, link: &Link, host: &HostSide) -> bool {
        link.name == naming::vxlan(self.record.vni)
            && link.vxlan.as_ref() == Some(&self.vxlan(host))
            && link.mac == Some(naming::node_mac(self.record.node_address))
            && link.up
    }

    fn vxlan(&self, host: &HostSide) -> Vxlan {
        Vxlan {
            vni: self.record.vni,
            local: Some(host.underlay),
            port: host.vxlan_port,
            learning: false,
        }
    }

    async fn add_vxlan(&self, host: &HostSide) -> Result<()> {
        let name = naming::vxlan(self.record.vni);
        let shape = (naming::node_mac(self.record.node_address), self.record.mtu);
        let vxlan = self.vxlan(host);
        for attempt in 1.. {
            match host.links.add_vxlan(&name, &vxlan, shape, self.ns()).await {
                Err(error) if error.exists() && attempt < VXLAN_TRIES => {
                    tokio::time::sleep(VXLAN_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        sysctl::trunk(self.ns(), &name).await
    }

    /// The pair to the host, with its addresses and routes; cheap to repeat.
    async fn uplink(&self, host: &HostSide, inner: bool) -> Result<usize> {
        let outer = naming::uplink(&self.record.id);
        let near = uplink::network_end(self.record.slot);
        let far = uplink::host_end(self.record.slot);
        let mut changes = 0;
        if !inner || host.links.find(&outer).await?.is_none_or(|link| !link.up) {
            let veth = Veth {
                name: &outer,
                mac: None,
                controller: None,
                peer: naming::UPLINK_INNER,
                peer_mac: None,
                peer_ns: self.ns(),
                mtu: None,
            };
            self.links.delete(naming::UPLINK_INNER).await?;
            host.links.add_veth(&veth).await?;
            self.links.set_up(naming::UPLINK_INNER).await?;
            host.links.wait_ready(&outer).await?;
            sysctl::host_uplink(host.links.ns(), &outer).await?;
            sysctl::trunk(self.ns(), naming::UPLINK_INNER).await?;
            let inner = self.links.index(naming::UPLINK_INNER).await?;
            self.links.add_address_at(inner, IpAddr::V4(near), 32, true).await?;
            changes += 1;
        }
        let link = host.links.index(&outer).await?;
        host.links.add_address_at(link, IpAddr::V4(far), 32, true).await?;
        host.links.set_route(Ipv4Net::from(near), Route::Link { link }).await?;
        Ok(changes)
    }

    /// The gateway's and this node's own address.
    async fn addresses(&self, lo: u32) -> Result<usize> {
        let present = self.links.addresses().await?;
        let mut changes = 0;
        let mut wanted = vec![(lo, self.record.gateway), (lo, self.record.node_address)];
        if !self.record.internal {
            let up0 = self.links.index(naming::UPLINK_INNER).await?;
            wanted.push((up0, uplink::network_end(self.record.slot)));
        }
        for (link, address) in &wanted {
            if !present.contains(&(*link, *address)) {
                self.links.add_address_at(*link, IpAddr::V4(*address), 32, true).await?;
                changes += 1;
            }
        }
        let stale = |have: &&(u32, Ipv4Addr)| {
            have.0 == lo && !have.1.is_loopback() && !wanted.contains(have)
        };
        for (link, address) in present.iter().filter(stale) {
            self.links.delete_address(*link, *address).await?;
            changes += 1;
        }
        Ok(changes)
    }

    /// Routes, neighbours and forwarding entries; then the flows of endpoints that are gone.
    async fn paths(&self, table: &NetworkTable, found: &Found) -> Result<usize> {
        let plan = plan(table, found);
        let mut present = self.links.neighbours().await?;
        present.extend(self.links.forwards().await?);
        let mut changes = 0;
        for (link, entry) in plan.neighbours.iter().filter(|wanted| !present.contains(wanted)) {
            self.links.set_neighbour(*link, *entry).await?;
            changes += 1;
        }
        let routes = self.links.routes().await?;
        let wrong = plan.routes.iter().filter(|(to, route)| routes.get(to) != Some(route));
        let wrong: Vec<_> = wrong.map(|(to, route)| (*to, *route)).collect();
        if !wrong.is_empty() {
            changes += wrong.len();
            self.links.set_routes(wrong).await?;
        }
        let mut dead = self.abandoned(table, found);
        for to in routes.keys().filter(|to| !plan.routes.contains_key(to)) {
            self.links.delete_route(*to).await?;
            dead.push(to.addr());
            changes += 1;
        }
        for (link, entry) in present.iter().filter(|have| plan.owns(have) && !plan.has(have)) {
            self.links.delete_neighbour(*link, *entry).await?;
            changes += 1;
        }
        self.cut(dead).await?;
        Ok(changes)
    }
}
