//! Links, addresses and routes of one namespace, over one netlink connection made inside it. Every
//! call is idempotent: what exists with the right shape is kept. Decides nothing; called by the
//! rest of this crate and by the lab.

mod neighbour;
mod path;
mod route;
mod rule;
mod six;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{
    InfoData, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan,
};

pub(crate) use self::neighbour::Neighbour;
pub(crate) use self::route::Route;
pub(crate) use self::rule::{Detours, Select};
pub(crate) use self::six::{Neighbour6, Route6};
use crate::error::{Context, NetError, Result};
use crate::netns::NetNs;

/// Longest name the kernel accepts for a link, in bytes.
pub const NAME_MAX: usize = 15;

/// The link watcher is a kernel thread with nothing to wait for; this is 2 s of a starved machine.
const READY_TRIES: u32 = 2000;
const READY_PAUSE: Duration = Duration::from_millis(1);

/// A hardware address.
pub type Mac = [u8; 6];

/// Netlink access to one namespace. Cheap to clone; usable from any task.
#[derive(Clone, Debug)]
pub struct Links {
    handle: Handle,
    ns: NetNs,
}

/// One link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index in its namespace.
    pub index: u32,
    /// Name, unique in its namespace.
    pub name: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Hardware address, when it has one of six bytes.
    pub mac: Option<Mac>,
    /// Administratively up.
    pub up: bool,
    /// Operationally up: packets pass.
    pub ready: bool,
    pub(crate) vxlan: Option<Vxlan>,
}

/// A pair of virtual Ethernet links: `name` in the namespace of the [`Links`], `peer` in another.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// Name of the near end.
    pub name: &'a str,
    /// Hardware address of the near end; the kernel chooses when absent.
    pub mac: Option<Mac>,
    /// Bridge or other controller of the near end, by index.
    pub controller: Option<u32>,
    /// Name of the far end.
    pub peer: &'a str,
    /// Hardware address of the far end.
    pub peer_mac: Option<Mac>,
    /// Namespace of the far end.
    pub peer_ns: &'a NetNs,
    /// Largest packet of both ends in bytes; 1500 when absent.
    pub mtu: Option<u32>,
}

/// Settings of a VXLAN device; its outer socket lives in the namespace of the [`Links`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vxlan {
    pub vni: u32,
    pub local: Option<Ipv4Addr>,
    pub port: u16,
    pub learning: bool,
}

impl Links {
    /// Connects to the namespace. Must be called on a tokio runtime, which drives the connection.
    pub async fn open(ns: &NetNs) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let made = ns.run(move || {
            let _entered = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection()?;
            // Ends by itself when the last handle is dropped.
            runtime.spawn(connection);
            std::io::Result::Ok(handle)
        });
        let handle = made.await?.context(|| "open a netlink socket".to_owned())?;
        Ok(Self { handle, ns: ns.clone() })
    }

    /// The namespace this speaks to.
    pub fn ns(&self) -> &NetNs {
        &self.ns
    }

    /// The link of that name, if there is one.
    pub async fn find(&self, name: &str) -> Result<Option<Link>> {
        let mut found = self.handle.link().get().match_name(name).execute();
        let next = found.try_next().await.context(|| format!("look up link {name}"));
        match next {
            Ok(link) => Ok(link.map(Link::read)),
            Err(error) if error.absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All links of the namespace.
    pub async fn list(&self) -> Result<Vec<Link>> {
        let dump = self.handle.link().get().execute();
        dump.map_ok(Link::read).try_collect().await.context(|| "list links".to_owned())
    }

    /// Brings a link up.
    pub async fn set_up(&self, name: &str) -> Result<()> {
        self.change(LinkUnspec::new_with_name(name).up().build(), || format!("set {name} up")).await
    }

    /// Takes a link down; addresses stay, routes through it go.
    pub async fn set_down(&self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).down().build();
        self.change(message, || format!("set {name} down")).await
    }

    /// Sets the largest packet of a link, in bytes.
    pub(crate) async fn set_mtu(&self, name: &str, mtu: u32) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).mtu(mtu).build();
        self.change(message, || format!("set the MTU of {name} to {mtu}")).await
    }

    /// Waits until a link that is up really carries packets: an end of a pair that came up before
    /// its peer drops them until the kernel's link watcher has run. Takes one look as a rule.
    pub async fn wait_ready(&self, name: &str) -> Result<()> {
        for _ in 0..READY_TRIES {
            if self.find(name).await?.is_some_and(|link| link.ready) {
                return Ok(());
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
        Err(NetError::kernel(format!("wait for the carrier of link {name}"), nix::Error::ETIMEDOUT))
    }

    /// Makes a bridge and brings it up; returns its index.
    pub async fn add_bridge(&self, name: &str) -> Result<u32> {
        check_name(name)?;
        let added = self.add(LinkBridge::new(name).up().build(), || format!("add bridge {name}"));
        match added.await {
            Err(error) if error.exists() => self.set_up(name).await?,
            other => other?,
        }
        self.index(name).await
    }

    /// Makes a pair in one message; the near end is up, the far end is not (the kernel cannot bring
    /// it up before the pair is whole): its namespace does that, and then [`Links::wait_ready`] on
    /// the near end saves the first packets. A near end of that name left by a crash is
    /// deleted first (its far end goes with it). Returns the index of the near end.
    pub async fn add_veth(&self, veth: &Veth<'_>) -> Result<u32> {
        check_name(veth.name)?;
        check_name(veth.peer)?;
        let what = || format!("add link {} with peer {}", veth.name, veth.peer);
        match self.add(veth.message(), what).await {
            Err(error) if error.exists() => {
                self.delete(veth.name).await?;
                self.add(veth.message(), what).await?;
            }
            other => other?,
        }
        self.index(veth.name).await
    }

    /// Makes a VXLAN device whose device end is in `target`. Fails when the name is taken there or
    /// the VNI is in use on this port in this namespace.
    pub(crate) async fn add_vxlan(
        &self,
        name: &str,
        vxlan: &Vxlan,
        shape: (Mac, u32),
        target: &NetNs,
    ) -> Result<()> {
        let (mac, mtu) = shape;
        let mut message = LinkVxlan::new(name, vxlan.vni).port(vxlan.port).learning(vxlan.learning);
        if let Some(local) = vxlan.local {
            message = message.local(local);
        }
        let message = message.address(mac.to_vec()).mtu(mtu).up().setns_by_fd(target.raw_fd());
        let what = || format!("add link {name} for VNI {} on port {}", vxlan.vni, vxlan.port);
        self.add(message.build(), what).await
    }

    /// Deletes a link; absent is fine. Takes the kernel about 40 ms for a veth.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        let deleted = self.handle.link().del(link.index).execute().await;
        match deleted.context(|| format!("delete link {name}")) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }

    /// Gives a link an address; present is fine.
    pub async fn add_address(&self, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let index = self.index(name).await?;
        self.add_address_at(index, address, prefix, false).await
    }

    /// Same by index; `bare` leaves out the route to the address's own subnet.
    pub(crate) async fn add_address_at(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        bare: bool,
    ) -> Result<()> {
        let mut request = self.handle.address().add(index, address, prefix).replace();
        if bare {
            let mut flags = AddressFlags::Noprefixroute;
            if address.is_ipv6() {
                // Whoever gives out the address knows that nobody else has it.
                flags |= AddressFlags::Nodad;
            }
            request.message_mut().attributes.push(AddressAttribute::Flags(flags));
        }
        request.execute().await.context(|| format!("add address {address}/{prefix}"))
    }

    /// Takes an address off a link; absent is fine.
    pub(crate) async fn delete_address(&self, link: u32, address: Ipv4Addr) -> Result<()> {
        let message =
            AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(address, 32).build();
        let deleted = self.handle.address().del(message).execute().await;
        match deleted.context(|| format!("delete address {address}")) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }

    /// IPv4 addresses of the namespace as (link index, address).
    pub(crate) async fn addresses(&self) -> Result<Vec<(u32, Ipv4Addr)>> {
        let dump = self.handle.address().get().execute().map_ok(|message| {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            local.map(|address| (message.header.index, address))
        });
        let all: Vec<_> = dump.try_collect().await.context(|| "list addresses".to_owned())?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Index of a link that must exist.
    pub async fn index(&self, name: &str) -> Result<u32> {
        let link = self.find(name).await?;
        let missing = || NetError::kernel(format!("look up link {name}"), nix::Error::ENODEV);
        link.map(|link| link.index).ok_or_else(missing)
    }

    async fn add(&self, message: LinkMessage, what: impl Fn() -> String) -> Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.send(RouteNetlinkMessage::NewLink(message), flags, what).await
    }

    async fn change(&self, message: LinkMessage, what: impl Fn() -> String) -> Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        self.send(RouteNetlinkMessage::NewLink(message), flags, what).await
    }

    /// Sends one request and waits for the kernel's acknowledgement.
    async fn send(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: impl Fn() -> String,
    ) -> Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answers = self.handle.clone().request(request).context(&what)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(NetError::kernel(what(), error.to_io()));
            }
        }
        Ok(())
    }
}

impl Link {
    fn read(message: LinkMessage) -> Self {
        let up = message.header.flags.contains(LinkFlags::Up);
        let mut link = Self { index: message.header.index, up, ..Self::default() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::OperState(state) => link.ready = state == State::Up,
                LinkAttribute::Address(mac) => link.mac = mac.try_into().ok(),
                LinkAttribute::LinkInfo(infos) => link.vxlan = infos.iter().find_map(read_vxlan),
                _ => {}
            }
        }
        link
    }
}

fn read_vxlan(info: &LinkInfo) -> Option<Vxlan> {
    let LinkInfo::Data(InfoData::Vxlan(data)) = info else { return None };
    let mut vxlan = Vxlan::default();
    for item in data {
        match item {
            InfoVxlan::Id(vni) => vxlan.vni = *vni,
            InfoVxlan::Local(local) => vxlan.local = Some(*local),
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Learning(learning) => vxlan.learning = *learning,
            _ => {}
        }
    }
    Some(vxlan)
}

impl Veth<'_> {
    fn message(&self) -> LinkMessage {
        let mut peer = shape(LinkUnspec::new_with_name(self.peer), self.peer_mac, self.mtu);
        peer = peer.setns_by_fd(self.peer_ns.raw_fd());
        let mut near = LinkVeth::new(self.name, self.peer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())));
        near = shape(near, self.mac, self.mtu).up();
        if let Some(controller) = self.controller {
            near = near.controller(controller);
        }
        near.build()
    }
}

fn shape<T>(
    builder: LinkMessageBuilder<T>,
    mac: Option<Mac>,
    mtu: Option<u32>,
) -> LinkMessageBuilder<T> {
    let builder = match mac {
        Some(mac) => builder.address(mac.to_vec()),
        None => builder,
    };
    match mtu {
        Some(mtu) => builder.mtu(mtu),
        None => builder,
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(NetError::Invalid(format!(
            "link name {name:?} is not 1 to {NAME_MAX} plain characters"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
