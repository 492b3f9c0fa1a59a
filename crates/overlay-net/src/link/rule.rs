//! Detours: packets picked by their mark or their source address have a route of their own, in a
//! table of its own. Only rules and tables of this crate's numbers are listed and touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nix::sys::socket::SockProtocol;

use super::Links;
use super::route::{self, Route};
use crate::error::{Context, Result};
use crate::wire::{Buffer, FLAG_ACK, FLAG_CREATE, FLAG_DUMP, FLAG_EXCLUSIVE, Socket, attributes};

/// Tables of detours by mark begin here, well above those that anybody numbers by hand.
const TABLE_OF_MARKS: u32 = 0x5357_0000;
/// The table of the one detour by source address.
const TABLE_OF_SOURCE: u32 = 0x5358_0000;
const TABLE_MAIN: u32 = libc::RT_TABLE_MAIN as u32;
/// Looked at before the main table, in this order.
const PRIORITY_PLAIN: u32 = 5000;
const PRIORITY: u32 = 5001;

const NEW_RULE: u16 = libc::RTM_NEWRULE;
const DELETE_RULE: u16 = libc::RTM_DELRULE;
const GET_RULE: u16 = libc::RTM_GETRULE;
/// `struct fib_rule_hdr`, in bytes: family, prefix lengths, …, action at 7.
const HEADER: usize = 12;
const FAMILY_IPV4: u8 = libc::AF_INET as u8;
const ACTION_TABLE: u8 = 1;
const SOURCE: u16 = 2;
const PRIORITY_OF: u16 = 6;
const MARK: u16 = 10;
const TABLE: u16 = 15;
const MARK_MASK: u16 = 16;

/// Which packets take a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Select {
    /// Those without a mark take none, and are not asked further.
    Plain,
    /// Those with this mark, which is not 0.
    Mark(u16),
    /// Those from this address.
    Source(Ipv4Addr),
}

/// Detours and where they lead; a plain one leads nowhere of its own.
pub(crate) type Detours = BTreeMap<Select, Option<Route>>;

impl Links {
    /// The detours of the namespace; one without its route is there as leading nowhere.
    pub(crate) async fn detours(&self) -> Result<Detours> {
        self.ns.run(|| list_here().context(|| "list detours".to_owned())).await?
    }

    /// Adds a detour, or leads one elsewhere.
    pub(crate) async fn set_detour(&self, select: Select, route: Option<Route>) -> Result<()> {
        let set = self.ns.run(move || set_here(select, route)).await?;
        set.context(|| format!("add detour {select:?}"))
    }

    /// Deletes a detour; absent is fine.
    pub(crate) async fn delete_detour(&self, select: Select) -> Result<()> {
        let deleted = self.ns.run(move || delete_here(select)).await?;
        deleted.context(|| format!("delete detour {select:?}"))
    }
}

impl Select {
    fn table(self) -> u32 {
        match self {
            Self::Plain => TABLE_MAIN,
            Self::Mark(mark) => TABLE_OF_MARKS + u32::from(mark),
            Self::Source(_) => TABLE_OF_SOURCE,
        }
    }

    fn write(self, body: &mut Buffer) {
        let mut header = [0; HEADER];
        header[0] = FAMILY_IPV4;
        header[2] = if matches!(self, Self::Source(_)) { 32 } else { 0 };
        header[7] = ACTION_TABLE;
        body.raw(&header);
        let mark = |body: &mut Buffer, mark: u16| {
            body.attribute(MARK, &u32::from(mark).to_ne_bytes());
            body.attribute(MARK_MASK, &u32::MAX.to_ne_bytes());
        };
        let priority = match self {
            Self::Plain => {
                mark(body, 0);
                PRIORITY_PLAIN
            }
            Self::Mark(number) => {
                mark(body, number);
                PRIORITY
            }
            Self::Source(address) => {
                body.attribute(SOURCE, &address.octets());
                PRIORITY
            }
        };
        body.attribute(PRIORITY_OF, &priority.to_ne_bytes());
        body.attribute(TABLE, &self.table().to_ne_bytes());
    }
}

fn set_here(select: Select, route: Option<Route>) -> io::Result<()> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    if let Some(route) = route {
        route::set_on(&socket, &[(Ipv4Net::default(), route)], select.table())?;
    }
    ask(&socket, NEW_RULE, FLAG_CREATE | FLAG_EXCLUSIVE, select, libc::EEXIST)
}

fn delete_here(select: Select) -> io::Result<()> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    ask(&socket, DELETE_RULE, 0, select, libc::ENOENT)?;
    if select == Select::Plain {
        return Ok(());
    }
    route::delete_on(&socket, Ipv4Net::default(), select.table())
}

fn ask(socket: &Socket, kind: u16, flags: u16, select: Select, fine: i32) -> io::Result<()> {
    let mut request = Buffer::default();
    request.plain(kind, flags | FLAG_ACK, 1, |body| select.write(body));
    socket.send(&request)?;
    match socket.receive(1, |_| {}) {
        Err(error) if error.raw_os_error() == Some(fine) => Ok(()),
        other => other,
    }
}

fn list_here() -> io::Result<Detours> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    let mut request = Buffer::default();
    request.plain(GET_RULE, FLAG_DUMP, 1, |body| {
        let mut header = [0; HEADER];
        header[0] = FAMILY_IPV4;
        body.raw(&header);
    });
    let mut found = BTreeSet::new();
    socket.send(&request)?;
    socket.receive(1, |body| found.extend(read(body)))?;
    let routes = route::list_on(&socket)?;
    let led = |select: &Select| match select {
        Select::Plain => None,
        _ => routes.get(&(select.table(), Ipv4Net::default())).copied(),
    };
    Ok(found.into_iter().map(|select| (select, led(&select))).collect())
}

fn read(body: &[u8]) -> Option<Select> {
    let (mut source, mut mark, mut table, mut priority) = (None, 0, 0, 0);
    for (kind, value) in attributes(body.get(HEADER..)?) {
        let Ok(value) = <[u8; 4]>::try_from(value) else { continue };
        match kind {
            SOURCE => source = Some(Ipv4Addr::from(value)),
            MARK => mark = u32::from_ne_bytes(value),
            TABLE => table = u32::from_ne_bytes(value),
            PRIORITY_OF => priority = u32::from_ne_bytes(value),
            _ => {}
        }
    }
    match (priority, table) {
        (PRIORITY_PLAIN, TABLE_MAIN) => Some(Select::Plain),
        (PRIORITY, TABLE_OF_SOURCE) => source.map(Select::Source),
        (PRIORITY, _) if table.checked_sub(TABLE_OF_MARKS) == Some(mark) => {
            u16::try_from(mark).ok().map(Select::Mark)
        }
        _ => None,
    }
}
