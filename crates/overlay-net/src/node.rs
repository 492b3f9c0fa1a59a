//! The handle of one node's data plane: networks and published ports. Containers' namespaces are
//! in `sandbox`, adoption after a restart in `adopt`. One change at a time per node: the kernel
//! serialises link changes anyway. Called by the agent.

mod adopt;
mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

use crate::conntrack::{self, Flow};
use crate::error::{NetError, Result};
use crate::link::{Link, Links};
use crate::naming;
use crate::netns;
use crate::network::{HostSide, LocalPorts, Network, NodePart, inner_ports, rules};
use crate::nft::Firewall;
use crate::nft::host::HostRules;
use crate::record::{NetworkRecord, Records, SandboxRecord};
use crate::reserve::Reservation;
use crate::table::{Applied, IngressPort, NetworkTable, Protocol, ipv4};
use crate::underlay::Underlay;
use crate::uplink;

/// Port of VXLAN, when nothing else is configured.
pub const VXLAN_PORT: u16 = 4789;

/// Where and how the data plane of one node works.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Directory for pins and records (`<run_dir>/net`); on a file system a reboot empties.
    pub run_dir: PathBuf,
    /// Data-path address of this node, on one of the host's links.
    pub underlay: IpAddr,
    /// UDP port of VXLAN, the same on all nodes: [`VXLAN_PORT`].
    pub vxlan_port: u16,
    /// Namespace that is the host's; that of the calling thread when absent.
    pub host_netns: Option<PathBuf>,
}

/// The data plane of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeNet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: HostSide,
    records: Records,
    underlay: Underlay,
    state: Mutex<State>,
    /// Deletions under way.
    background: TaskTracker,
}

#[derive(Debug)]
struct State {
    networks: BTreeMap<String, Network>,
    sandboxes: BTreeMap<String, Entry>,
    /// Sandboxes being deleted; the channel closes at the end.
    dying: BTreeMap<String, watch::Receiver<()>>,
    ingress: Vec<IngressPort>,
    firewall: Firewall,
    /// The host's rules as committed last; none when unknown.
    rules: Option<HostRules>,
}

/// A sandbox of this node.
#[derive(Debug)]
struct Entry {
    record: SandboxRecord,
    /// Made or verified in full by this daemon.
    ready: bool,
    /// Per network, the subnets to which its routes lead; none when an earlier daemon made it.
    routed: BTreeMap<String, Vec<Ipv4Net>>,
    reservations: Vec<Reservation>,
}

impl NodeNet {
    /// Makes this node's state of one network equal to `table`: namespace, links, routes, rules.
    /// What is right already is left alone; what somebody else broke is repaired. The flows of
    /// endpoints that are no longer listed are cut, those of the others survive.
    pub async fn apply(&self, table: NetworkTable) -> Result<Applied> {
        table.check()?;
        let mut state = self.inner.state.lock().await;
        let opened = self.open_network(&mut state, &table).await?;
        let mtu = state.network(&table.id)?.record.mtu;
        let mut links = state.network(&table.id)?.links.list().await?;
        let repaired = self.repair_plugs(&state, &table.id, &links).await?;
        self.route_plugs(&mut state, &table.id).await?;
        if repaired > 0 {
            links = state.network(&table.id)?.links.list().await?;
        }
        let local = state.local_ports(&table.id);
        let strays = state.stray_ports(&table.id, &links);
        let network = state.network_mut(&table.id)?;
        let changed = network.apply(&self.inner.host, &table, (&local, &links)).await?;
        network.table = Some(table);
        let id = network.record.id.clone();
        for stray in &strays {
            network.links.delete(stray).await?;
        }
        let ruled = state.set_network_rules(&id).await? + self.set_host_rules(&mut state).await?;
        let changes = usize::from(opened) + repaired + changed + strays.len() + ruled;
        Ok(Applied { changes, mtu })
    }

    /// Removes a network with everything in it. Fails when a sandbox is attached; absent is fine.
    pub async fn remove(&self, network_id: &str) -> Result<()> {
        naming::check_id("network", network_id)?;
        self.wait_dying_of(network_id).await;
        let mut state = self.inner.state.lock().await;
        if let Some(user) = state.user_of(network_id) {
            let network = network_id.to_owned();
            return Err(NetError::NetworkInUse { network, sandbox: user });
        }
        let Some(network) = state.networks.remove(network_id) else { return Ok(()) };
        self.set_host_rules(&mut state).await?;
        network.remove(&self.inner.host, &self.inner.records.network_pin(network_id)).await?;
        self.inner.records.forget_network(network_id).await
    }

    /// Ids of the networks present on this node.
    pub async fn list(&self) -> Vec<String> {
        self.inner.state.lock().await.networks.keys().cloned().collect()
    }

    /// Sets the ports that every node answers for services of the ingress network: the full set.
    /// Ports of a virtual address without backends refuse connections.
    pub async fn set_ingress(&self, mut ports: Vec<IngressPort>) -> Result<()> {
        ports.sort_unstable();
        ports.dedup();
        let mut seen = BTreeSet::new();
        for port in &ports {
            if port.published == 0 || port.target == 0 {
                return Err(NetError::Invalid("an ingress port is not in 1 to 65535".to_owned()));
            }
            if !seen.insert((port.host_ip, port.protocol, port.published)) {
                let port = format!("{}/{}", port.published, port.protocol);
                return Err(NetError::Invalid(format!("ingress port {port} leads to two places")));
            }
        }
        let mut state = self.inner.state.lock().await;
        if state.ingress != ports {
            self.inner.records.save_ingress(&ports).await?;
            state.ingress = ports;
        }
        if let Some(id) = state.ingress_network() {
            state.set_network_rules(&id).await?;
        }
        self.set_host_rules(&mut state).await?;
        Ok(())
    }

    /// Cuts the flows to and from a dead container: new packets go to a living one.
    pub async fn flush_backend(&self, network_id: &str, address: Ipv4Addr) -> Result<usize> {
        let ns = self.inner.state.lock().await.network(network_id)?.ns().clone();
        conntrack::cut_both(&ns, move |flow| flow.touches(address)).await
    }

    /// Largest packet of the link that has the data-path address, in bytes.
    pub async fn underlay_mtu(&self) -> Result<u32> {
        self.inner.underlay.own(&self.inner.host.links).await
    }

    /// Waits for deletions under way. Call before the process ends, or they are left to the next.
    pub async fn settle(&self) {
        let waiting: Vec<_> = self.inner.state.lock().await.dying.values().cloned().collect();
        for mut end in waiting {
            // Closed is what is waited for.
            while end.changed().await.is_ok() {}
        }
    }

    /// Opens or updates the entry of a network; true when it was not there.
    async fn open_network(&self, state: &mut State, table: &NetworkTable) -> Result<bool> {
        if let Some(other) = state.networks.values().find(|n| n.is_rival(table)) {
            let (vni, other) = (table.vni, &other.record.id);
            let id = &table.id;
            return Err(NetError::Invalid(format!("VNI {vni} of network {id} is {other}'s")));
        }
        let fresh = !state.networks.contains_key(&table.id);
        let mtu = self.inner.underlay.fitting(&self.inner.host.links, table, fresh).await?;
        if let Some(network) = state.networks.get_mut(&table.id) {
            network.ns().pin(&self.inner.records.network_pin(&table.id))?;
            let record = NetworkRecord::new(table, mtu, network.record.slot);
            if record != network.record {
                self.inner.records.save_network(&record).await?;
                network.record = record;
            }
            return Ok(false);
        }
        let taken = state.networks.values().map(|n| n.record.slot).collect();
        let record = NetworkRecord::new(table, mtu, uplink::free(&taken)?);
        self.inner.records.save_network(&record).await?;
        let pin = self.inner.records.network_pin(&table.id);
        let network = Network::open(record, &pin).await?;
        state.networks.insert(table.id.clone(), network);
        Ok(true)
    }

    /// Makes the host's rules right; returns 1 when they were not.
    async fn set_host_rules(&self, state: &mut State) -> Result<usize> {
        let wanted = state.host_rules();
        if state.rules.as_ref() == Some(&wanted) && state.firewall.is_untouched().await? {
            return Ok(0);
        }
        let old = state.rules.take().unwrap_or_default();
        let what = || "set the rules of the host".to_owned();
        state.firewall.commit(wanted.replace(), what).await?;
        let udp = |rules: &HostRules| -> BTreeSet<(u16, (Ipv4Addr, u16))> {
            let ports = rules.ports.iter().filter(|(key, _)| key.1 == Protocol::Udp);
            ports.map(|(key, to)| (key.2, *to)).collect()
        };
        let (before, after) = (udp(&old), udp(&wanted));
        let changed: Vec<_> = before.symmetric_difference(&after).copied().collect();
        state.rules = Some(wanted);
        if !changed.is_empty() {
            // A client that kept sending keeps the way of its first packet alive.
            let host = self.inner.host.links.ns();
            conntrack::cut(host, move |flow| changed.iter().any(|c| stale(flow, c))).await?;
        }
        Ok(1)
    }
}

/// The flow was tracked before a UDP port was published, or leads where it led.
fn stale(flow: &Flow, (published, (address, inner)): &(u16, (Ipv4Addr, u16))) -> bool {
    let udp = flow.original.protocol == Protocol::Udp.number();
    let plain = flow.reply.source == flow.original.target;
    let led = flow.reply.source == *address && flow.reply.source_port == *inner;
    udp && flow.original.target_port == *published && (plain || led)
}

impl Network {
    /// Another network with the same VNI.
    fn is_rival(&self, table: &NetworkTable) -> bool {
        table.vni != 0 && self.record.vni == table.vni && self.record.id != table.id
    }
}

impl State {
    fn network(&self, id: &str) -> Result<&Network> {
        self.networks.get(id).ok_or_else(|| NetError::UnknownNetwork(id.to_owned()))
    }

    fn network_mut(&mut self, id: &str) -> Result<&mut Network> {
        self.networks.get_mut(id).ok_or_else(|| NetError::UnknownNetwork(id.to_owned()))
    }

    fn ingress_network(&self) -> Option<String> {
        let mut networks = self.networks.values();
        networks.find(|n| n.record.ingress).map(|n| n.record.id.clone())
    }

    /// A sandbox attached to the network.
    fn user_of(&self, network: &str) -> Option<String> {
        let attached =
            |sandbox: &&Entry| sandbox.record.attachments.iter().any(|a| a.network_id == network);
        self.sandboxes.values().find(attached).map(|sandbox| sandbox.record.id.clone())
    }

    fn local_ports(&self, network: &str) -> LocalPorts {
        let mut ports = LocalPorts::new();
        for sandbox in self.sandboxes.values() {
            for attachment in &sandbox.record.attachments {
                if attachment.network_id == network
                    && let Ok(address) = ipv4("address", attachment.address)
                {
                    ports.insert(address, naming::port(network, &sandbox.record.id));
                }
            }
        }
        ports
    }

    /// Container links in the network's namespace that belong to no sandbox, dying or not.
    fn stray_ports(&self, network: &str, links: &[Link]) -> Vec<String> {
        let ids = self.sandboxes.keys().chain(self.dying.keys());
        let known: BTreeSet<String> = ids.map(|id| naming::port(network, id)).collect();
        let names = links.iter().map(|link| &link.name);
        let stray = |n: &&String| n.starts_with(naming::PORT_PREFIX) && !known.contains(*n);
        names.filter(stray).cloned().collect()
    }

    /// Makes the rules of a network right, when its table is known.
    async fn set_network_rules(&mut self, id: &str) -> Result<usize> {
        let network = self.network(id)?;
        let Some(table) = &network.table else { return Ok(0) };
        let ports = self.sandboxes.values().flat_map(|sandbox| &sandbox.record.ports).collect();
        let node = NodePart { ingress: &self.ingress, ports, closed: self.closed() };
        let rules = rules(&network.record, table, node);
        self.network_mut(id)?.set_rules(rules).await
    }

    fn host_rules(&self) -> HostRules {
        let active = !self.networks.is_empty();
        let mut rules = HostRules { active, ..HostRules::default() };
        let ingress = self.networks.values().find(|n| n.record.ingress);
        if let Some(network) = ingress {
            let to = uplink::network_end(network.record.slot);
            for (port, inner) in inner_ports(&self.ingress) {
                let key = (port.host_ip, port.protocol, port.published);
                rules.ports.insert(key, (to, inner));
            }
        }
        for bound in self.sandboxes.values().flat_map(|sandbox| &sandbox.record.ports) {
            let Some(network) = self.networks.get(&bound.network_id) else { continue };
            let address = match bound.port.host_ip {
                Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
                _ => None,
            };
            let key = (address, bound.port.protocol, bound.port.published);
            rules.ports.insert(key, (uplink::network_end(network.record.slot), bound.inner));
        }
        rules
    }
}

#[cfg(test)]
mod tests;
