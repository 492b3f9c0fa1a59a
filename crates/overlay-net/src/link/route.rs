//! IPv4 routes of the main table: the handful of shapes this crate uses, as comparable values.
//! Those of other tables are set and read for `rule`, who knows what they are for.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::sys::socket::SockProtocol;
use rtnetlink::RouteMessageBuilder;

use super::Links;
use crate::error::{Context, Result};
use crate::wire::{Buffer, FLAG_ACK, FLAG_CREATE, FLAG_DUMP, FLAG_REPLACE, Socket, attributes};

/// Messages in one system call; a refusal of each would still fit the receive buffer.
const ROUTES_PER_CALL: usize = 200;
/// Sequence number that marks the last message of a call.
const LAST: u32 = 2;
const GET_ROUTE: u16 = libc::RTM_GETROUTE;
const FAMILY_IPV4: u8 = libc::AF_INET as u8;
const TABLE_MAIN: u32 = libc::RT_TABLE_MAIN as u32;
/// `struct rtmsg`, in bytes: family, prefix length, …, table at 4, kind at 7.
pub(super) const HEADER: usize = 12;
/// Where the family is in it.
pub(super) const FAMILY_AT: usize = 0;

/// Where packets to one prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Route {
    /// Neighbours on a link.
    Link { link: u32 },
    /// Through a gateway that is taken to be on the link, whatever its address.
    Via { gateway: Ipv4Addr, link: u32 },
    /// Nowhere: the sender is told at once.
    Unreachable,
}

impl Links {
    /// Adds a route; with `via` the gateway is taken to be on the link `dev` when that is given.
    /// An existing route to the same prefix is replaced.
    pub async fn add_route(
        &self,
        to: Ipv4Net,
        via: Option<Ipv4Addr>,
        dev: Option<&str>,
    ) -> Result<()> {
        let link = match dev {
            Some(dev) => Some(self.index(dev).await?),
            None => None,
        };
        let message = match (via, link) {
            (Some(gateway), Some(link)) => Route::Via { gateway, link }.message(to),
            (None, Some(link)) => Route::Link { link }.message(to),
            (Some(gateway), None) => base(to).gateway(gateway).build(),
            (None, None) => Route::Unreachable.message(to),
        };
        self.put_route(to, message).await
    }

    /// Adds or replaces the route to one prefix.
    pub(crate) async fn set_route(&self, to: Ipv4Net, route: Route) -> Result<()> {
        self.put_route(to, route.message(to)).await
    }

    /// Adds or replaces many routes with few system calls.
    pub(crate) async fn set_routes(&self, routes: Vec<(Ipv4Net, Route)>) -> Result<()> {
        let what = format!("add {} routes", routes.len());
        let messages: Vec<RouteMessage> =
            routes.iter().map(|(to, route)| route.message(*to)).collect();
        self.ns.run(move || put_here(&messages)).await?.context(|| what)
    }

    /// Deletes the route to one prefix; absent is fine.
    pub async fn delete_route(&self, to: Ipv4Net) -> Result<()> {
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

    /// IPv4 routes of the main table. Shapes this crate never makes are left out.
    pub(crate) async fn routes(&self) -> Result<BTreeMap<Ipv4Net, Route>> {
        self.ns.run(|| list_here().context(|| "list routes".to_owned())).await?
    }

    async fn put_route(&self, to: Ipv4Net, message: RouteMessage) -> Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let message = RouteNetlinkMessage::NewRoute(message);
        self.send(message, flags, || format!("add route {to}")).await
    }
}

impl Route {
    fn message(self, to: Ipv4Net) -> RouteMessage {
        match self {
            Self::Link { link } => base(to).output_interface(link).scope(RouteScope::Link).build(),
            Self::Via { gateway, link } => {
                base(to).gateway(gateway).output_interface(link).onlink().build()
            }
            Self::Unreachable => base(to).kind(RouteType::Unreachable).build(),
        }
    }
}

/// The message of a route in one of the tables.
fn in_table(route: Route, to: Ipv4Net, table: u32) -> RouteMessage {
    let mut message = route.message(to);
    if let Ok(small) = u8::try_from(table) {
        message.header.table = small;
    } else {
        message.header.table = libc::RT_TABLE_UNSPEC;
        message.attributes.push(RouteAttribute::Table(table));
    }
    message
}

fn base(to: Ipv4Net) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix_len())
}

/// Adds or replaces routes of one table.
pub(super) fn set_on(socket: &Socket, routes: &[(Ipv4Net, Route)], table: u32) -> io::Result<()> {
    let messages: Vec<RouteMessage> =
        routes.iter().map(|(to, route)| in_table(*route, *to, table)).collect();
    put_on(socket, &messages)
}

/// Adds or replaces routes in the namespace of the calling thread.
pub(super) fn put_here(routes: &[RouteMessage]) -> io::Result<()> {
    put_on(&Socket::open_here(SockProtocol::NetlinkRoute)?, routes)
}

fn put_on(socket: &Socket, routes: &[RouteMessage]) -> io::Result<()> {
    for part in routes.chunks(ROUTES_PER_CALL) {
        let (mut batch, mut last) = (Buffer::default(), 0);
        for route in part {
            let message = RouteNetlinkMessage::NewRoute(route.clone());
            last = batch.len();
            put(&mut batch, &message, FLAG_CREATE | FLAG_REPLACE);
        }
        // Only the last of them is acknowledged; a refusal of any is told all the same.
        batch.finish(last, LAST);
        socket.send(&batch)?;
        socket.receive(LAST, |_| {})?;
    }
    Ok(())
}

/// Deletes a route of one table; absent is fine.
pub(super) fn delete_on(socket: &Socket, to: Ipv4Net, table: u32) -> io::Result<()> {
    let mut message = in_table(Route::Unreachable, to, table);
    // Unspecified matches any: whoever made it and whatever it is.
    message.header.protocol = RouteProtocol::Unspec;
    message.header.kind = RouteType::Unspec;
    message.header.scope = RouteScope::NoWhere;
    let mut request = Buffer::default();
    put(&mut request, &RouteNetlinkMessage::DelRoute(message), FLAG_ACK);
    request.finish(0, LAST);
    socket.send(&request)?;
    match socket.receive(LAST, |_| {}) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

fn put(batch: &mut Buffer, message: &RouteNetlinkMessage, flags: u16) {
    batch.plain(message.message_type(), flags, 1, |body| {
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        body.raw(&bytes);
    });
}

/// Lists by hand: the library takes five times as long for thousands of routes.
fn list_here() -> io::Result<BTreeMap<Ipv4Net, Route>> {
    let all = list_on(&Socket::open_here(SockProtocol::NetlinkRoute)?)?;
    let main = all.into_iter().filter(|((table, _), _)| *table == TABLE_MAIN);
    Ok(main.map(|((_, to), route)| (to, route)).collect())
}

/// Routes of all tables.
pub(super) fn list_on(socket: &Socket) -> io::Result<BTreeMap<(u32, Ipv4Net), Route>> {
    let mut request = Buffer::default();
    request.plain(GET_ROUTE, FLAG_DUMP, 1, |body| {
        let mut header = [0; HEADER];
        header[FAMILY_AT] = FAMILY_IPV4;
        body.raw(&header);
    });
    let mut routes = BTreeMap::new();
    socket.send(&request)?;
    socket.receive(1, |body| routes.extend(read(body)))?;
    Ok(routes)
}

fn read(body: &[u8]) -> Option<((u32, Ipv4Net), Route)> {
    let header = body.get(..HEADER)?;
    let (prefix, mut table, kind) = (header[1], u32::from(header[4]), header[7]);
    let (mut to, mut gateway, mut link) = (Ipv4Addr::UNSPECIFIED, None, None);
    for (attribute, value) in attributes(&body[HEADER..]) {
        let Ok(value) = <[u8; 4]>::try_from(value) else { continue };
        match attribute {
            libc::RTA_DST => to = Ipv4Addr::from(value),
            libc::RTA_GATEWAY => gateway = Some(Ipv4Addr::from(value)),
            libc::RTA_OIF => link = Some(u32::from_ne_bytes(value)),
            libc::RTA_TABLE => table = u32::from_ne_bytes(value),
            _ => {}
        }
    }
    let to = Ipv4Net::new(to, prefix).ok()?;
    let route = match (kind, gateway, link) {
        (libc::RTN_UNREACHABLE, ..) => Route::Unreachable,
        (libc::RTN_UNICAST, Some(gateway), Some(link)) => Route::Via { gateway, link },
        (libc::RTN_UNICAST, None, Some(link)) => Route::Link { link },
        _ => return None,
    };
    Some(((table, to), route))
}
