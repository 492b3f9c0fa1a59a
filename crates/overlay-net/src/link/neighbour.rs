//! Permanent neighbours of a link (IPv4 address to hardware address) and the forwarding entries of
//! a VXLAN device (hardware address to the node that owns it). Learned entries are not listed.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::RouteType;

use super::{Links, Mac};
use crate::error::{Context, Result};

/// One permanent entry of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Neighbour {
    /// On the link, `address` is reached at `mac`.
    Address { address: Ipv4Addr, mac: Mac },
    /// On a VXLAN link, frames to `mac` are sent to the node `node`.
    Forward { mac: Mac, node: Ipv4Addr },
}

impl Links {
    /// Adds or replaces a permanent entry.
    pub(crate) async fn set_neighbour(&self, link: u32, entry: Neighbour) -> Result<()> {
        let neighbours = self.handle.neighbours();
        let request = match entry {
            Neighbour::Address { address, mac } => {
                neighbours.add(link, IpAddr::V4(address)).link_layer_address(&mac)
            }
            Neighbour::Forward { mac, node } => neighbours
                .add_bridge(link, &mac)
                .flags(NeighbourFlags::Own)
                .destination(IpAddr::V4(node)),
        };
        let request = request.state(NeighbourState::Permanent).replace();
        request.execute().await.context(|| format!("add neighbour {entry:?}"))
    }

    /// Deletes a permanent entry; absent is fine.
    pub(crate) async fn delete_neighbour(&self, link: u32, entry: Neighbour) -> Result<()> {
        let deleted = self.handle.neighbours().del(entry.message(link)).execute().await;
        match deleted.context(|| format!("delete neighbour {entry:?}")) {
            Err(error) if error.absent() => Ok(()),
            other => other,
        }
    }

    /// Permanent IPv4 neighbours of all links, as (link index, entry).
    pub(crate) async fn neighbours(&self) -> Result<Vec<(u32, Neighbour)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        self.permanent(request.execute(), "list neighbours").await
    }

    /// Forwarding entries of all VXLAN devices, as (link index, entry).
    pub(crate) async fn forwards(&self) -> Result<Vec<(u32, Neighbour)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
        self.permanent(request.execute(), "list forwarding entries").await
    }

    async fn permanent(
        &self,
        dump: impl futures::Stream<Item = Result<NeighbourMessage, rtnetlink::Error>>,
        what: &str,
    ) -> Result<Vec<(u32, Neighbour)>> {
        let all: Vec<_> =
            dump.map_ok(|m| read(&m)).try_collect().await.context(|| what.to_owned())?;
        Ok(all.into_iter().flatten().collect())
    }
}

impl Neighbour {
    fn message(self, link: u32) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        let (family, flags, attributes) = match self {
            Self::Address { address, .. } => (
                AddressFamily::Inet,
                NeighbourFlags::empty(),
                vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(address))],
            ),
            Self::Forward { mac, node } => (
                AddressFamily::Bridge,
                NeighbourFlags::Own,
                vec![
                    NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
                    NeighbourAttribute::Destination(NeighbourAddress::Inet(node)),
                ],
            ),
        };
        message.header = NeighbourHeader {
            family,
            ifindex: link,
            state: NeighbourState::Permanent,
            flags,
            kind: RouteType::Unspec,
        };
        message.attributes = attributes;
        message
    }
}

fn read(message: &NeighbourMessage) -> Option<(u32, Neighbour)> {
    // Bridge entries report NOARP|PERMANENT or plain PERMANENT, depending on the kernel.
    if u16::from(message.header.state) & u16::from(NeighbourState::Permanent) == 0 {
        return None;
    }
    let (mut mac, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = Mac::try_from(bytes.as_slice()).ok();
            }
            NeighbourAttribute::Destination(destination) => address = ipv4(destination),
            _ => {}
        }
    }
    let entry = match message.header.family {
        AddressFamily::Inet => Neighbour::Address { address: address?, mac: mac? },
        AddressFamily::Bridge => Neighbour::Forward { mac: mac?, node: address? },
        _ => return None,
    };
    Some((message.header.ifindex, entry))
}

fn ipv4(address: &NeighbourAddress) -> Option<Ipv4Addr> {
    match address {
        NeighbourAddress::Inet(address) => Some(*address),
        // Forwarding entries carry the address without its family.
        NeighbourAddress::Other(bytes) => {
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?))
        }
        _ => None,
    }
}
