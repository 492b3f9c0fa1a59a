//! Containers' network namespaces: made at once, deleted in the background because the kernel
//! takes about 40 ms per link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use ipnet::Ipv4Net;
use tokio::sync::watch;

use super::{Entry, NodeNet, State};
use crate::conntrack;
use crate::error::{Context, NetError, Result};
use crate::link::{Link, Links};
use crate::naming;
use crate::netns::{self, NetNs};
use crate::plug::Plug;
use crate::record::{BoundPort, NetworkRecord, SandboxRecord};
use crate::reserve::{Reservation, reserve};
use crate::sysctl;
use crate::table::{Attachment, HostPort, Protocol, Sandbox, ipv4};

/// Where containers look for their name server.
const DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

impl NodeNet {
    /// Makes a container's namespace: `lo` up, `eth0`, `eth1`, … in the order of `attachments`,
    /// default route through the ingress network, or else the first that is not internal, host ports
    /// leading to it. The networks must have been applied before. Again with the same id and
    /// attachments, it verifies, repairs and returns what is there.
    pub async fn create_sandbox(
        &self,
        id: &str,
        attachments: Vec<Attachment>,
        ports: Vec<HostPort>,
    ) -> Result<Sandbox> {
        naming::check_id("sandbox", id)?;
        self.wait_dying(id).await;
        let mut state = self.inner.state.lock().await;
        match state.sandboxes.get(id) {
            Some(known) if known.record.attachments != attachments => {
                return Err(NetError::Invalid(format!(
                    "sandbox {id} exists with other attachments"
                )));
            }
            Some(known) if known.ready => return Ok(self.describe(&known.record)),
            Some(_) => {}
            None => self.admit(&mut state, id, attachments, &ports).await?,
        }
        if let Err(error) = self.build(&mut state, id).await {
            self.tear_down(&mut state, id).await;
            return Err(error);
        }
        let sandbox = state.sandbox_mut(id)?;
        sandbox.ready = true;
        Ok(self.describe(&sandbox.record))
    }

    /// Deletes a container's namespace and links; its flows are cut. Returns when it is out of the
    /// rules; the links go in the background. Absent is fine.
    pub async fn delete_sandbox(&self, id: &str) -> Result<()> {
        naming::check_id("sandbox", id)?;
        let mut state = self.inner.state.lock().await;
        if state.sandboxes.contains_key(id) {
            self.tear_down(&mut state, id).await;
        }
        Ok(())
    }

    /// Ids of the sandboxes on this node, those being deleted left out.
    pub async fn sandboxes(&self) -> Vec<String> {
        self.inner.state.lock().await.sandboxes.keys().cloned().collect()
    }

    /// Sockets on 127.0.0.11:53 inside a sandbox, non-blocking, for the caller to serve.
    pub async fn dns_sockets(&self, id: &str) -> Result<(UdpSocket, TcpListener)> {
        let pin = self.inner.records.sandbox_pin(id);
        if !self.inner.state.lock().await.sandboxes.contains_key(id) {
            return Err(NetError::UnknownSandbox(id.to_owned()));
        }
        let ns = NetNs::open(&pin)?;
        let made = ns.run(|| {
            let (udp, tcp) = (UdpSocket::bind(DNS)?, TcpListener::bind(DNS)?);
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            std::io::Result::Ok((udp, tcp))
        });
        made.await?.context(|| format!("listen for names in sandbox {id}"))
    }

    fn describe(&self, record: &SandboxRecord) -> Sandbox {
        Sandbox {
            netns: self.inner.records.sandbox_pin(&record.id),
            host_ports: record.ports.iter().map(|bound| bound.port).collect(),
        }
    }

    /// Checks the request, reserves its ports and records it, so that a crash leaves a trace.
    async fn admit(
        &self,
        state: &mut State,
        id: &str,
        attachments: Vec<Attachment>,
        ports: &[HostPort],
    ) -> Result<()> {
        for (position, attachment) in attachments.iter().enumerate() {
            state.check_attachment(id, attachment)?;
            let same = |other: &Attachment| other.network_id == attachment.network_id;
            if attachments[..position].iter().any(same) {
                let network = &attachment.network_id;
                return Err(NetError::Invalid(format!("sandbox {id} is on {network} twice")));
            }
        }
        let mut routed = BTreeMap::new();
        for attachment in &attachments {
            let subnets = state.network(&attachment.network_id)?.record.subnets().collect();
            routed.insert(attachment.network_id.clone(), subnets);
        }
        let record = SandboxRecord { id: id.to_owned(), attachments, ports: vec![] };
        let mut sandbox = Entry { record, ready: false, routed, reservations: vec![] };
        for port in ports {
            self.publish(state, &mut sandbox, port).await?;
        }
        self.inner.records.save_sandbox(&sandbox.record).await?;
        state.sandboxes.insert(id.to_owned(), sandbox);
        Ok(())
    }

    /// Reserves one host port and finds the way to the container.
    async fn publish(&self, state: &State, sandbox: &mut Entry, port: &HostPort) -> Result<()> {
        let id = sandbox.record.id.clone();
        if port.target == 0 {
            return Err(NetError::Invalid(format!("target port 0 of sandbox {id}")));
        }
        let Some(way) = state.way_out(&sandbox.record.attachments) else {
            return Err(NetError::Invalid(format!(
                "sandbox {id} has host ports but only internal networks"
            )));
        };
        let (network_id, address) = (way.network_id.clone(), ipv4("address", way.address)?);
        state.check_free(&id, port, &sandbox.record.ports)?;
        let held = self.hold(&id, port).await?;
        let mut bound = BoundPort {
            port: HostPort { published: held.port, ..*port },
            network_id,
            address,
            inner: held.port,
        };
        let taken = state.inner_ports(&bound, &sandbox.record.ports);
        while taken.contains(&bound.inner) {
            // Two addresses of the host with the same port: any other number will do inside.
            bound.inner = bound.inner.checked_add(1).unwrap_or(1);
        }
        sandbox.record.ports.push(bound);
        sandbox.reservations.push(held);
        Ok(())
    }

    async fn hold(&self, id: &str, port: &HostPort) -> Result<Reservation> {
        let host = self.inner.host.links.ns();
        let address = port.host_ip.map(|ip| ipv4("host ip", ip)).transpose()?;
        let held = reserve(host, address, port.protocol, port.published).await;
        held.map_err(|error| match error.errno() {
            Some(libc::EADDRINUSE) => taken(id, port, "a process of the host".to_owned()),
            _ => error,
        })
    }

    /// Makes the namespace, the links and the rules of an admitted sandbox.
    async fn build(&self, state: &mut State, id: &str) -> Result<()> {
        let pin = self.inner.records.sandbox_pin(id);
        let fresh = !netns::is_pinned(&pin);
        let ns = NetNs::create(&pin).await?;
        let inner = Links::open(&ns).await?;
        sysctl::sandbox(&ns).await?;
        inner.set_up("lo").await?;
        for plug in state.plugs(id)? {
            let outer = &state.network(&plug.network.id)?.links;
            if fresh || !plug.is_inserted(outer, &inner).await? {
                plug.insert(outer, &inner).await?;
            }
        }
        let record = state.sandbox_mut(id)?.record.clone();
        let mut networks: BTreeSet<_> = record.ports.iter().map(|p| p.network_id.clone()).collect();
        let has_ports = !record.ports.is_empty();
        // Whether it may reach out is among the ingress network's rules.
        let on_ingress = |id: &String| record.attachments.iter().any(|a| a.network_id == *id);
        networks.extend(state.ingress_network().filter(on_ingress));
        for network in networks {
            state.set_network_rules(&network).await?;
        }
        if has_ports {
            self.set_host_rules(state).await?;
        }
        Ok(())
    }

    /// Puts back the containers' links that somebody deleted; returns how many.
    pub(super) async fn repair_plugs(
        &self,
        state: &State,
        network: &str,
        links: &[Link],
    ) -> Result<usize> {
        let outer = &state.network(network)?.links;
        let present: BTreeMap<_, _> = links.iter().map(|link| (link.name.as_str(), link)).collect();
        let mut repaired = 0;
        for record in state.sandboxes.values().map(|sandbox| &sandbox.record) {
            let attached = record.attachments.iter().position(|a| a.network_id == network);
            let Some(position) = attached else { continue };
            let plug = state.plug(record, position)?;
            let near = present.get(plug.near().as_str());
            if near.is_some_and(|link| link.mtu == plug.network.mtu) {
                continue;
            }
            let pin = self.inner.records.sandbox_pin(&record.id);
            let inner = Links::open(&NetNs::open(&pin)?).await?;
            match near {
                Some(_) => plug.resize(outer, &inner).await?,
                None => plug.insert(outer, &inner).await?,
            }
            repaired += 1;
        }
        Ok(repaired)
    }

    /// Leads the containers of a network to the subnets that it got since they were made.
    pub(super) async fn route_plugs(&self, state: &mut State, network: &str) -> Result<()> {
        let subnets: Vec<Ipv4Net> = state.network(network)?.record.subnets().collect();
        let behind = |sandbox: &&Entry| {
            let attached = sandbox.record.attachments.iter().any(|a| a.network_id == network);
            attached && sandbox.routed.get(network) != Some(&subnets)
        };
        let behind: Vec<String> =
            state.sandboxes.values().filter(behind).map(|s| s.record.id.clone()).collect();
        for id in behind {
            let pin = self.inner.records.sandbox_pin(&id);
            let inner = Links::open(&NetNs::open(&pin)?).await?;
            for plug in state.plugs(&id)?.iter().filter(|plug| plug.network.id == network) {
                plug.route_subnets(&inner).await?;
            }
            let routed = &mut state.sandbox_mut(&id)?.routed;
            routed.insert(network.to_owned(), subnets.clone());
        }
        Ok(())
    }

    /// Takes a sandbox out of state and rules, and deletes it in the background.
    async fn tear_down(&self, state: &mut State, id: &str) {
        let Some(sandbox) = state.sandboxes.remove(id) else { return };
        let record = sandbox.record;
        if !record.ports.is_empty() {
            let mut done = self.set_host_rules(state).await.map(|_| ());
            for bound in &record.ports {
                let set = state.set_network_rules(&bound.network_id).await;
                done = done.and(set.map(|_| ()));
            }
            if let Err(error) = done {
                // The next apply sets all rules anew.
                tracing::warn!(sandbox = id, %error, "rules of a deleted sandbox remain");
            }
        }
        let (open, end) = watch::channel(());
        state.dying.insert(id.to_owned(), end);
        let mut places = Vec::new();
        for attachment in &record.attachments {
            if let Ok(network) = state.network(&attachment.network_id) {
                places.push((network.links.clone(), attachment.clone()));
            }
        }
        let node = self.clone();
        self.inner.background.spawn(async move {
            if let Err(error) = node.erase(&record.id, places).await {
                // Its record stays, so the next daemon finds it again.
                tracing::warn!(sandbox = record.id, %error, "sandbox not deleted");
            }
            node.inner.state.lock().await.dying.remove(&record.id);
            drop(open);
        });
    }

    async fn erase(&self, id: &str, places: Vec<(Links, Attachment)>) -> Result<()> {
        for (links, attachment) in places {
            let (network, address) = (&attachment.network_id, attachment.address);
            let taken_over = self.inner.state.lock().await.holder_of(network, address).is_some();
            if !taken_over {
                let address = ipv4("address", address)?;
                conntrack::cut_both(links.ns(), move |flow| flow.touches(address)).await?;
            }
            links.delete(&naming::port(network, id)).await?;
        }
        netns::delete(&self.inner.records.sandbox_pin(id))?;
        self.inner.records.forget_sandbox(id).await
    }

    async fn wait_dying(&self, id: &str) {
        let end = self.inner.state.lock().await.dying.get(id).cloned();
        if let Some(mut end) = end {
            // Closed is what is waited for.
            while end.changed().await.is_ok() {}
        }
    }

    /// Waits for the sandboxes being deleted that may still be attached to a network.
    pub(super) async fn wait_dying_of(&self, network: &str) {
        if self.inner.state.lock().await.networks.contains_key(network) {
            self.settle().await;
        }
    }
}

impl State {
    fn sandbox_mut(&mut self, id: &str) -> Result<&mut Entry> {
        self.sandboxes.get_mut(id).ok_or_else(|| NetError::UnknownSandbox(id.to_owned()))
    }

    fn check_attachment(&self, id: &str, attachment: &Attachment) -> Result<()> {
        let network = &self.network(&attachment.network_id)?.record;
        let address = ipv4("an address of a container", attachment.address)?;
        if !network.subnets().any(|subnet| subnet.contains(&address)) {
            let (name, subnet) = (&network.name, network.subnet);
            return Err(NetError::Invalid(format!(
                "address {address} of sandbox {id} is not in subnet {subnet} of network {name}"
            )));
        }
        if let Some(holder) = self.holder_of(&network.id, attachment.address) {
            return Err(NetError::Invalid(format!(
                "address {address} of sandbox {id} is already used by sandbox {holder}"
            )));
        }
        Ok(())
    }

    fn holder_of(&self, network: &str, address: IpAddr) -> Option<&str> {
        let has = |sandbox: &&Entry| {
            let mut all = sandbox.record.attachments.iter();
            all.any(|a| a.network_id == network && a.address == address)
        };
        self.sandboxes.values().find(has).map(|sandbox| sandbox.record.id.as_str())
    }

    /// The attachment that carries the default route and host ports. On the ingress network
    /// answers must leave where requests came in, whatever address a server answers from.
    fn way_out<'a>(&self, attachments: &'a [Attachment]) -> Option<&'a Attachment> {
        let record = |a: &&Attachment| self.networks.get(&a.network_id).map(|n| &n.record);
        let mut all = attachments.iter();
        let ingress = all.clone().find(|a| record(a).is_some_and(|n| n.ingress));
        ingress.or_else(|| all.find(|a| record(a).is_some_and(|n| !n.internal)))
    }

    /// Addresses in the ingress network of containers whose other networks all are internal.
    pub(super) fn closed(&self) -> BTreeSet<Ipv4Addr> {
        let mut closed = BTreeSet::new();
        for sandbox in self.sandboxes.values() {
            let is = |a: &Attachment, what: fn(&NetworkRecord) -> bool| {
                self.networks.get(&a.network_id).is_some_and(|n| what(&n.record))
            };
            let all = &sandbox.record.attachments;
            let (ingress, others): (Vec<_>, Vec<_>) =
                all.iter().partition(|a| is(a, |n| n.ingress));
            if !others.is_empty() && others.iter().all(|a| is(a, |n| n.internal)) {
                closed.extend(ingress.iter().filter_map(|a| ipv4("address", a.address).ok()));
            }
        }
        closed
    }

    fn plugs(&self, id: &str) -> Result<Vec<Plug<'_>>> {
        let unknown = || NetError::UnknownSandbox(id.to_owned());
        let record = &self.sandboxes.get(id).ok_or_else(unknown)?.record;
        (0..record.attachments.len()).map(|position| self.plug(record, position)).collect()
    }

    fn plug<'a>(&'a self, record: &'a SandboxRecord, position: usize) -> Result<Plug<'a>> {
        let attachment = &record.attachments[position];
        Ok(Plug {
            network: &self.network(&attachment.network_id)?.record,
            sandbox: &record.id,
            position,
            address: ipv4("address", attachment.address)?,
            default_route: self.way_out(&record.attachments) == Some(attachment),
        })
    }

    /// Refuses a host port that another container or the routing mesh has.
    fn check_free(&self, id: &str, port: &HostPort, own: &[BoundPort]) -> Result<()> {
        let same = |protocol: Protocol, published: u16| {
            protocol == port.protocol && published == port.published && published != 0
        };
        if self.ingress.iter().any(|p| same(p.protocol, p.published)) {
            return Err(taken(id, port, "a published service".to_owned()));
        }
        let clash = |other: &HostPort| {
            let any = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
            let meet = any(other.host_ip) || any(port.host_ip) || other.host_ip == port.host_ip;
            meet && same(other.protocol, other.published)
        };
        for sandbox in self.sandboxes.values() {
            if sandbox.record.ports.iter().any(|bound| clash(&bound.port)) {
                return Err(taken(id, port, format!("sandbox {}", sandbox.record.id)));
            }
        }
        if own.iter().any(|bound| clash(&bound.port)) {
            return Err(taken(id, port, "itself".to_owned()));
        }
        Ok(())
    }

    /// Inner ports of the same network and protocol.
    fn inner_ports(&self, bound: &BoundPort, own: &[BoundPort]) -> BTreeSet<u16> {
        let all = self.sandboxes.values().flat_map(|sandbox| &sandbox.record.ports).chain(own);
        let near = all.filter(|other| {
            other.network_id == bound.network_id && other.port.protocol == bound.port.protocol
        });
        near.map(|other| other.inner).collect()
    }
}

fn taken(id: &str, port: &HostPort, holder: String) -> NetError {
    NetError::PortTaken {
        port: port.published,
        protocol: port.protocol.name(),
        wanted_by: format!("sandbox {id}"),
        holder,
    }
}
