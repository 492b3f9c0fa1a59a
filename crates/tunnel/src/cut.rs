//! Cuts a superframe of the kernel into frames that fit the wire. Each gets its own length,
//! identification, sequence number, flags and checksum, as if it had been sent alone.

use crate::checksum::Sum;
use crate::layout::{ETHERNET, IPV6, TCP, UDP, UDP_HEADER, addresses, put, word};
use crate::vnet::{Gso, Header, NEEDS_CSUM};

/// Flags of TCP that belong to the last segment: FIN and PSH.
const LAST_ONLY: u8 = 0x01 | 0x08;
/// CWR belongs to the first.
const FIRST_ONLY: u8 = 0x80;
/// Place of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Place of the checksum in a UDP header.
const UDP_CHECKSUM: usize = 6;

/// A frame from the kernel, ready to be cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    frame: &'a [u8],
    header: Header,
    transport: usize,
    payload: usize,
    size: usize,
    count: usize,
}

impl<'a> Cut<'a> {
    /// None for a frame whose header cannot be: its places are outside the frame.
    pub fn new(header: Header, frame: &'a [u8]) -> Option<Self> {
        if frame.len() < ETHERNET {
            return None;
        }
        let transport = usize::from(header.csum_start);
        let whole = Self { frame, header, transport, payload: frame.len(), size: 0, count: 1 };
        if header.gso == Gso::None {
            let checksum = transport + usize::from(header.csum_offset);
            let is_right = header.flags & NEEDS_CSUM == 0 || checksum + 2 <= frame.len();
            return is_right.then_some(whole);
        }
        let transport_header = match header.gso {
            Gso::Udp => UDP_HEADER,
            _ => usize::from(*frame.get(transport + 12)? >> 4) * 4,
        };
        let (payload, size) = (transport + transport_header, usize::from(header.gso_size));
        let network_header = if whole.is_v6() { IPV6 } else { 20 };
        let is_short = header.gso != Gso::Udp && transport_header < 20;
        let misplaced = transport < ETHERNET + network_header || payload > frame.len();
        if size == 0 || is_short || misplaced {
            return None;
        }
        let count = (frame.len() - payload).div_ceil(size).max(1);
        Some(Self { payload, size, count, ..whole })
    }

    /// Frames that come of it, at least one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of frame `index`.
    pub fn length(&self, index: usize) -> usize {
        match self.header.gso {
            Gso::None => self.frame.len(),
            _ => self.payload + self.chunk(index).len(),
        }
    }

    /// Writes frame `index` into `out`, which has exactly its length.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        if self.header.gso == Gso::None {
            out.copy_from_slice(self.frame);
            if self.header.flags & NEEDS_CSUM != 0 {
                self.finish_checksum(out);
            }
            return;
        }
        let chunk = self.chunk(index);
        out[..self.payload].copy_from_slice(&self.frame[..self.payload]);
        out[self.payload..].copy_from_slice(chunk);
        self.set_network_header(index, out);
        match self.header.gso {
            Gso::Udp => self.set_udp(out),
            _ => self.set_tcp(index, out),
        }
    }

    fn is_v6(&self) -> bool {
        self.frame[12..ETHERNET] == [0x86, 0xdd]
    }

    fn chunk(&self, index: usize) -> &'a [u8] {
        let start = (self.payload + index * self.size).min(self.frame.len());
        &self.frame[start..(start + self.size).min(self.frame.len())]
    }

    fn set_network_header(&self, index: usize, out: &mut [u8]) {
        let length = out.len() - ETHERNET;
        if self.is_v6() {
            put(out, ETHERNET + 4, &((length - IPV6) as u16).to_be_bytes());
            return;
        }
        put(out, ETHERNET + 2, &(length as u16).to_be_bytes());
        let identification = word(self.frame, ETHERNET + 4).wrapping_add(index as u16);
        put(out, ETHERNET + 4, &identification.to_be_bytes());
        put(out, ETHERNET + 10, &[0, 0]);
        let checksum = Sum::default().add(&out[ETHERNET..self.transport]).finish();
        put(out, ETHERNET + 10, &checksum);
    }

    fn set_tcp(&self, index: usize, out: &mut [u8]) {
        let at = self.transport;
        let first = self.frame.get(at + 4..at + 8).and_then(|b| b.try_into().ok());
        let first = first.map_or(0, u32::from_be_bytes);
        let sequence = first.wrapping_add((index * self.size) as u32);
        put(out, at + 4, &sequence.to_be_bytes());
        let mut flags = out[at + 13];
        if index + 1 < self.count {
            flags &= !LAST_ONLY;
        }
        if index > 0 {
            flags &= !FIRST_ONLY;
        }
        out[at + 13] = flags;
        self.set_checksum(TCP, TCP_CHECKSUM, out);
    }

    fn set_udp(&self, out: &mut [u8]) {
        let length = (out.len() - self.transport) as u16;
        put(out, self.transport + 4, &length.to_be_bytes());
        self.set_checksum(UDP, UDP_CHECKSUM, out);
    }

    fn set_checksum(&self, protocol: u8, offset: usize, out: &mut [u8]) {
        let Some((source, target)) = addresses(out) else { return };
        put(out, self.transport + offset, &[0, 0]);
        let segment = &out[self.transport..];
        let sum = Sum::pseudo(source, target, protocol, segment.len()).add(segment);
        let checksum = seen(protocol, sum.finish());
        put(out, self.transport + offset, &checksum);
    }

    /// The kernel has put the sum of the pseudo header in the checksum's place.
    fn finish_checksum(&self, out: &mut [u8]) {
        let offset = usize::from(self.header.csum_offset);
        let sum = Sum::default().add(&out[self.transport..]).finish();
        let protocol = if offset == UDP_CHECKSUM { UDP } else { TCP };
        let checksum = seen(protocol, sum);
        put(out, self.transport + offset, &checksum);
    }
}

/// In UDP, 0 says that there is no checksum.
fn seen(protocol: u8, checksum: [u8; 2]) -> [u8; 2] {
    if protocol == UDP && checksum == [0, 0] { [0xff, 0xff] } else { checksum }
}
