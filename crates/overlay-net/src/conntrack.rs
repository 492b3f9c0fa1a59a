//! Tracked flows of one namespace: deletes those that a change has made wrong. Does not decide
//! which; `network` and `node` say so.

use std::net::Ipv4Addr;

use crate::error::{Context, Result};
use crate::netns::NetNs;
use crate::wire::{Buffer, FLAG_ACK, FLAG_DUMP, Socket, attributes, blocking, netfilter};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const IP: u16 = 1;
const PROTO: u16 = 2;

/// One direction of a flow. Of an IPv6 address, the IPv4 address that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub source: Ipv4Addr,
    pub target: Ipv4Addr,
    pub protocol: u8,
    pub source_port: u16,
    pub target_port: u16,
}

/// A tracked flow: as its first packet was, and as its answers are.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub original: Tuple,
    pub reply: Tuple,
    key: Vec<u8>,
}

impl Flow {
    /// The flow was made by, or leads to, this container.
    pub fn touches(&self, address: Ipv4Addr) -> bool {
        self.original.source == address || self.reply.source == address
    }
}

/// Deletes the flows that `wrong` picks; returns how many.
pub(crate) async fn cut(
    ns: &NetNs,
    wrong: impl Fn(&Flow) -> bool + Send + 'static,
) -> Result<usize> {
    cut_all(ns, &[FAMILY_IPV4], wrong).await
}

/// The same for flows of a container, by either of its addresses.
pub(crate) async fn cut_both(
    ns: &NetNs,
    wrong: impl Fn(&Flow) -> bool + Send + 'static,
) -> Result<usize> {
    cut_all(ns, &[FAMILY_IPV4, FAMILY_IPV6], wrong).await
}

async fn cut_all(
    ns: &NetNs,
    families: &'static [u8],
    wrong: impl Fn(&Flow) -> bool + Send + 'static,
) -> Result<usize> {
    let socket = Socket::netfilter(ns).await?;
    let work = move || {
        let each = families.iter().map(|family| cut_on(&socket, *family, &wrong));
        each.sum::<std::io::Result<usize>>().context(|| "delete tracked flows".to_owned())
    };
    blocking(work).await?
}

fn cut_on(socket: &Socket, family: u8, wrong: impl Fn(&Flow) -> bool) -> std::io::Result<usize> {
    let mut request = Buffer::default();
    request.message(GET, FLAG_DUMP, 1, (family, 0), |_| {});
    let mut flows = Vec::new();
    socket.send(&request)?;
    socket.receive(1, |body| flows.extend(read(netfilter(body)).filter(|flow| wrong(flow))))?;
    let mut deleted = 0;
    for flow in &flows {
        let mut request = Buffer::default();
        request.message(DELETE, FLAG_ACK, 2, (family, 0), |body| {
            body.nested(TUPLE_ORIGINAL, |tuple| tuple.raw(&flow.key));
        });
        match socket.ask(&request, 2) {
            // Gone by itself in the meantime.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
            Ok(_) => deleted += 1,
        }
    }
    Ok(deleted)
}

fn read(bytes: &[u8]) -> Option<Flow> {
    let (mut original, mut reply, mut key) = (None, None, Vec::new());
    for (kind, value) in attributes(bytes) {
        match kind {
            TUPLE_ORIGINAL => {
                original = tuple(value);
                key = value.to_vec();
            }
            TUPLE_REPLY => reply = tuple(value),
            _ => {}
        }
    }
    Some(Flow { original: original?, reply: reply?, key })
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut source, mut target) = (None, None);
    let (mut protocol, mut source_port, mut target_port) = (0, 0, 0);
    for (kind, value) in attributes(bytes) {
        for (part, value) in attributes(value) {
            match (kind, part) {
                (IP, 1) => source = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
                (IP, 2) => target = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
                (IP, 3) => source = value.last_chunk::<4>().copied().map(Ipv4Addr::from),
                (IP, 4) => target = value.last_chunk::<4>().copied().map(Ipv4Addr::from),
                (PROTO, 1) => protocol = value.first().copied()?,
                (PROTO, 2) => source_port = u16::from_be_bytes(value.try_into().ok()?),
                (PROTO, 3) => target_port = u16::from_be_bytes(value.try_into().ok()?),
                _ => {}
            }
        }
    }
    Some(Tuple { source: source?, target: target?, protocol, source_port, target_port })
}
