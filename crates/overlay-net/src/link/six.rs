//! The same for IPv6: addresses, routes of the main table and permanent neighbours, in the few shapes
//! that this crate uses. Link-local and multicast routes are the kernel's own and left out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::Ipv6Net;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::sys::socket::SockProtocol;
use rtnetlink::{AddressMessageBuilder, RouteMessageBuilder};

use super::route::{FAMILY_AT, HEADER, put_here};
use super::{Links, Mac, READY_PAUSE, READY_TRIES};
use crate::error::{Context, NetError, Result};
use crate::wire::{Buffer, FLAG_ACK, FLAG_DUMP, Socket, attributes};

/// Where packets to one prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Route6 {
    /// Neighbours on a link.
    Link { link: u32 },
    /// Through a gateway that is taken to be on the link, whatever its address.
    Via { gateway: Ipv6Addr, link: u32 },
    /// Nowhere: the sender is told at once.
    Unreachable,
}

/// On a link, `address` is reached at `mac`; for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Neighbour6 {
    pub address: Ipv6Addr,
    pub mac: Mac,
}

impl Links {
    /// Adds or replaces routes.
    pub(crate) async fn set_routes6(&self, routes: Vec<(Ipv6Net, Route6)>) -> Result<()> {
        let what = format!("add {} IPv6 routes", routes.len());
        let messages: Vec<RouteMessage> =
            routes.iter().map(|(to, route)| route.message(*to)).collect();
        self.ns.run(move || put_here(&messages)).await?.context(|| what)
    }

    /// Deletes the route to one prefix; absent is fine.
    pub(crate) async fn delete_route6(&self, to: Ipv6Net) -> Result<()> {
        let mut message = base(to).scope(RouteScope::NoWhere).build();
        // Unspecified matches any: whoever made it and whatever it is.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.kind = RouteType::Unspec;
        let deleted = self.handle.route().del(message).execute().await;
        match deleted.context(|| format!("delete route {to}")) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }

    /// Routes of the main table.
    pub(crate) async fn routes6(&self) -> Result<BTreeMap<Ipv6Net, Route6>> {
        self.ns.run(|| list_here().context(|| "list IPv6 routes".to_owned())).await?
    }

    /// Adds or replaces a permanent neighbour.
    pub(crate) async fn set_neighbour6(&self, link: u32, entry: Neighbour6) -> Result<()> {
        let neighbours = self.handle.neighbours();
        let request = neighbours.add(link, IpAddr::V6(entry.address));
        let request = request.link_layer_address(&entry.mac).state(NeighbourState::Permanent);
        let what = || format!("add neighbour {}", entry.address);
        request.replace().execute().await.context(what)
    }

    /// Deletes a permanent neighbour; absent is fine.
    pub(crate) async fn delete_neighbour6(&self, link: u32, entry: Neighbour6) -> Result<()> {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader {
            family: AddressFamily::Inet6,
            ifindex: link,
            state: NeighbourState::Permanent,
            ..NeighbourHeader::default()
        };
        let destination = NeighbourAddress::Inet6(entry.address);
        message.attributes = vec![NeighbourAttribute::Destination(destination)];
        let deleted = self.handle.neighbours().del(message).execute().await;
        match deleted.context(|| format!("delete neighbour {}", entry.address)) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }

    /// Permanent neighbours of all links, as (link index, entry).
    pub(crate) async fn neighbours6(&self) -> Result<Vec<(u32, Neighbour6)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet6);
        let dump = request.execute().map_ok(|message| read_neighbour(&message));
        let all: Vec<_> = dump.try_collect().await.context(|| "list neighbours".to_owned())?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Addresses as (link index, address).
    pub(crate) async fn addresses6(&self) -> Result<Vec<(u32, Ipv6Addr)>> {
        let dump = self.handle.address().get().execute().map_ok(|message| {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(IpAddr::V6(address)) => Some(*address),
                _ => None,
            });
            address.map(|address| (message.header.index, address))
        });
        let all: Vec<_> = dump.try_collect().await.context(|| "list addresses".to_owned())?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Waits until an address that was added receives: the kernel finishes that in the background, and
    /// drops what comes before.
    pub(crate) async fn wait_local6(&self, address: Ipv6Addr) -> Result<()> {
        for _ in 0..READY_TRIES {
            let local = self.ns.run(move || is_local_here(address)).await?;
            if local.context(|| format!("look up the route to {address}"))? {
                return Ok(());
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
        Err(NetError::kernel(format!("wait for address {address}"), nix::Error::ETIMEDOUT))
    }

    /// Takes an address off a link; absent is fine.
    pub(crate) async fn delete_address6(&self, link: u32, address: Ipv6Addr) -> Result<()> {
        let message =
            AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(address, 128).build();
        let deleted = self.handle.address().del(message).execute().await;
        match deleted.context(|| format!("delete address {address}")) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }
}

impl Route6 {
    fn message(self, to: Ipv6Net) -> RouteMessage {
        match self {
            Self::Link { link } => base(to).output_interface(link).build(),
            Self::Via { gateway, link } => {
                base(to).gateway(gateway).output_interface(link).onlink().build()
            }
            Self::Unreachable => base(to).kind(RouteType::Unreachable).build(),
        }
    }
}

fn base(to: Ipv6Net) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.network(), to.prefix_len())
}

fn read_neighbour(message: &NeighbourMessage) -> Option<(u32, Neighbour6)> {
    if u16::from(message.header.state) & u16::from(NeighbourState::Permanent) == 0 {
        return None;
    }
    let (mut mac, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = Mac::try_from(bytes.as_slice()).ok();
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => address = Some(*to),
            _ => {}
        }
    }
    Some((message.header.ifindex, Neighbour6 { address: address?, mac: mac? }))
}

fn is_local_here(address: Ipv6Addr) -> io::Result<bool> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    let mut request = Buffer::default();
    request.plain(libc::RTM_GETROUTE, FLAG_ACK, 1, |body| {
        let mut header = [0; HEADER];
        (header[FAMILY_AT], header[1]) = (libc::AF_INET6 as u8, 128);
        body.raw(&header);
        body.attribute(libc::RTA_DST, &address.octets());
    });
    let mut kind = None;
    socket.send(&request)?;
    match socket.receive(1, |body| kind = body.get(7).copied()) {
        // No route at all yet.
        Err(error) if error.raw_os_error() == Some(libc::ENETUNREACH) => Ok(false),
        received => received.map(|()| kind == Some(libc::RTN_LOCAL)),
    }
}

fn list_here() -> io::Result<BTreeMap<Ipv6Net, Route6>> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    let mut request = Buffer::default();
    request.plain(libc::RTM_GETROUTE, FLAG_DUMP, 1, |body| {
        let mut header = [0; HEADER];
        header[FAMILY_AT] = libc::AF_INET6 as u8;
        body.raw(&header);
    });
    let mut routes = BTreeMap::new();
    socket.send(&request)?;
    socket.receive(1, |body| routes.extend(read(body)))?;
    Ok(routes)
}

fn read(body: &[u8]) -> Option<(Ipv6Net, Route6)> {
    let header = body.get(..HEADER)?;
    let (prefix, table, kind) = (header[1], header[4], header[7]);
    if table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut to, mut gateway, mut link) = (Ipv6Addr::UNSPECIFIED, None, None);
    for (attribute, value) in attributes(&body[HEADER..]) {
        match attribute {
            libc::RTA_DST => to = Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?),
            libc::RTA_GATEWAY => {
                gateway = Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?));
            }
            libc::RTA_OIF => link = Some(u32::from_ne_bytes(value.try_into().ok()?)),
            _ => {}
        }
    }
    if to.is_unicast_link_local() || to.is_multicast() {
        return None;
    }
    let to = Ipv6Net::new(to, prefix).ok()?;
    let route = match (kind, gateway, link) {
        (libc::RTN_UNREACHABLE, ..) => Route6::Unreachable,
        (libc::RTN_UNICAST, Some(gateway), Some(link)) => Route6::Via { gateway, link },
        (libc::RTN_UNICAST, None, Some(link)) => Route6::Link { link },
        _ => return None,
    };
    Some((to, route))
}
