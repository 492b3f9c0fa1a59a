//! Netlink by hand, where the library has nothing (netfilter) or is slow (thousands of routes):
//! message encoder, attribute reader, socket. Knows no rules, flows or routes; `nft`, `conntrack`
//! and `link::route` build on it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};

use crate::error::{Context, NetError, Result};
use crate::netns::NetNs;

/// Header of a netlink message, in bytes.
const HEADER: usize = 16;
/// Netfilter's own header after it, in bytes.
const NETFILTER_HEADER: usize = 4;
/// One transaction is one datagram: room for some 20,000 services.
const SEND_BUFFER: usize = 32 << 20;
/// Receive buffer per call; the kernel fills at most 32 KiB of a dump at a time.
const RECEIVE: usize = 64 << 10;

pub(crate) const FLAG_REQUEST: u16 = 0x1;
pub(crate) const FLAG_ACK: u16 = 0x4;
pub(crate) const FLAG_DUMP: u16 = 0x300;
pub(crate) const FLAG_REPLACE: u16 = 0x100;
pub(crate) const FLAG_EXCLUSIVE: u16 = 0x200;
pub(crate) const FLAG_CREATE: u16 = 0x400;
pub(crate) const FLAG_APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;

/// A growing sequence of messages or attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

/// A netlink socket of one namespace. Calls block for the kernel's work only.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Buffer {
    /// Appends a netfilter message; `header` is its family and resource, `body` writes its
    /// attributes.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        header: (u8, u16),
        body: impl FnOnce(&mut Self),
    ) {
        let (family, [high, low]) = (header.0, header.1.to_be_bytes());
        self.plain(kind, flags, sequence, |message| {
            message.raw(&[family, 0, high, low]);
            body(message);
        });
    }

    /// Appends a message of any kind; `body` writes all that follows the netlink header.
    pub fn plain(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 4]);
        self.0.extend(kind.to_ne_bytes());
        self.0.extend((flags | FLAG_REQUEST).to_ne_bytes());
        self.0.extend(sequence.to_ne_bytes());
        self.0.extend([0; 4]);
        body(self);
        let length = (self.0.len() - start) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Gives the message that starts at `start` this sequence number and asks for its
    /// acknowledgement.
    pub fn finish(&mut self, start: usize, sequence: u32) {
        let flags = start + 6;
        let old = u16::from_ne_bytes([self.0[flags], self.0[flags + 1]]);
        self.0[flags..flags + 2].copy_from_slice(&(old | FLAG_ACK).to_ne_bytes());
        self.0[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.open(kind, value.len());
        self.0.extend(value);
        self.pad();
    }

    /// A 32-bit number, in network order as all of nftables' are.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub fn string(&mut self, kind: u16, value: &str) {
        self.open(kind, value.len() + 1);
        self.0.extend(value.as_bytes());
        self.0.push(0);
        self.pad();
    }

    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.open(kind | NESTED, 0);
        body(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn open(&mut self, kind: u16, length: usize) {
        self.0.extend(((length + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

impl Socket {
    /// Opens a netfilter socket inside the namespace.
    pub async fn netfilter(ns: &NetNs) -> Result<Self> {
        let open = || Self::open_here(SockProtocol::NetlinkNetFilter);
        ns.run(open).await?.context(|| "open a netfilter socket".to_owned())
    }

    /// Opens a socket in the namespace of the calling thread.
    pub fn open_here(protocol: SockProtocol) -> nix::Result<Self> {
        let (raw, cloexec) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Netlink, raw, cloexec, protocol)?;
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)?;
        Ok(Self(socket))
    }

    pub fn send(&self, messages: &Buffer) -> io::Result<()> {
        send(self.0.as_raw_fd(), messages.bytes(), MsgFlags::empty())?;
        Ok(())
    }

    /// Receives until the message `last` is acknowledged, refused, or the end of its dump. Gives
    /// the body of every message on the way to `each`; refusals come as the first one's errno.
    pub fn receive(&self, last: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut refused = None;
        let mut buffer = vec![0; RECEIVE];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (kind, sequence, body) in messages(&buffer[..length]) {
                match kind {
                    MESSAGE_ERROR => {
                        let errno = number(body, 0).map_or(0, |code| code.wrapping_neg() as i32);
                        if errno != 0 {
                            refused.get_or_insert(errno);
                        }
                    }
                    MESSAGE_DONE => {}
                    _ => {
                        each(body);
                        continue;
                    }
                }
                if sequence == last {
                    return refused.map_or(Ok(()), |e| Err(io::Error::from_raw_os_error(e)));
                }
            }
        }
    }

    /// One netfilter request; gives the attributes of its answer, if there is one.
    pub fn ask(&self, request: &Buffer, sequence: u32) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.send(request)?;
        self.receive(sequence, |body| answer = netfilter(body).to_vec())?;
        Ok(answer)
    }
}

/// Runs blocking work on a socket off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| NetError::kernel("netfilter work", io::Error::other(error)))
}

/// The attributes of a netfilter message, from its body.
pub(crate) fn netfilter(body: &[u8]) -> &[u8] {
    body.get(NETFILTER_HEADER..).unwrap_or_default()
}

/// Splits attributes: of a message, without the headers before them, or of a nested attribute.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        let sequence = number(bytes, 8)?;
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}
