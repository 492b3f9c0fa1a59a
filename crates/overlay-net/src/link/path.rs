//! How large a packet may be on its way to an address: by the route that the kernel would take.

use std::io;
use std::net::Ipv4Addr;

use nix::sys::socket::SockProtocol;

use super::Links;
use super::route::HEADER;
use crate::error::{Context, Result};
use crate::wire::{Buffer, FLAG_ACK, Socket, attributes};

const METRIC_MTU: u16 = 2;
/// Where the lengths of the addresses' prefixes are in `struct rtmsg`.
const TARGET_LENGTH_AT: usize = 1;

/// The route to one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Index of the link that it leaves by.
    pub link: u32,
    /// Largest packet in bytes, if the route itself says so.
    pub mtu: Option<u32>,
}

impl Links {
    /// The route that a packet to `to` takes.
    pub(crate) async fn path(&self, to: Ipv4Addr) -> Result<Path> {
        self.ns.run(move || ask_here(to).context(|| format!("look up the route to {to}"))).await?
    }
}

fn ask_here(to: Ipv4Addr) -> io::Result<Path> {
    let socket = Socket::open_here(SockProtocol::NetlinkRoute)?;
    let mut request = Buffer::default();
    request.plain(libc::RTM_GETROUTE, FLAG_ACK, 1, |body| {
        let mut header = [0; HEADER];
        (header[0], header[TARGET_LENGTH_AT]) = (libc::AF_INET as u8, 32);
        body.raw(&header);
        body.attribute(libc::RTA_DST, &to.octets());
    });
    let mut path = Path::default();
    socket.send(&request)?;
    socket.receive(1, |body| path = read(body.get(HEADER..).unwrap_or_default()))?;
    Ok(path)
}

fn read(bytes: &[u8]) -> Path {
    let number = |value: &[u8]| value.try_into().ok().map(u32::from_ne_bytes);
    let mut path = Path::default();
    for (kind, value) in attributes(bytes) {
        match kind {
            libc::RTA_OIF => path.link = number(value).unwrap_or_default(),
            libc::RTA_METRICS => {
                let metric = attributes(value).find(|(kind, _)| *kind == METRIC_MTU);
                path.mtu = metric.and_then(|(_, value)| number(value));
            }
            _ => {}
        }
    }
    path
}
