//! Where the parts of an Ethernet frame are. Pure; reads only what is inside the frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Bytes of an IPv6 header.
pub const IPV6: usize = 40;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;

const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
const ARP_TYPE: [u8; 2] = [0x08, 0x06];
/// Smallest header of IPv4, and of TCP.
const SMALLEST: usize = 20;
/// Where in an ARP message the sender's address is.
const ARP_SENDER: usize = ETHERNET + 14;

/// A hardware address.
pub type Mac = [u8; 6];

/// Bytes `at..at + N` of the frame.
pub fn field<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A big-endian number of the frame; 0 outside it.
pub fn word(frame: &[u8], at: usize) -> u16 {
    field(frame, at).map_or(0, u16::from_be_bytes)
}

/// Puts bytes at a place that the caller knows to be inside.
pub fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Target and source of an Ethernet frame.
pub fn macs(frame: &[u8]) -> Option<(Mac, Mac)> {
    Some((field(frame, 0)?, field(frame, 6)?))
}

/// Source and target of the packet in a frame; none when it carries no IP.
pub fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match field(frame, 12)? {
        IPV4_TYPE => {
            let at = |at| field::<4>(frame, at).map(Ipv4Addr::from).map(IpAddr::V4);
            Some((at(ETHERNET + 12)?, at(ETHERNET + 16)?))
        }
        IPV6_TYPE => {
            let at = |at| field::<16>(frame, at).map(Ipv6Addr::from).map(IpAddr::V6);
            Some((at(ETHERNET + 8)?, at(ETHERNET + 24)?))
        }
        _ => None,
    }
}

/// Whose address a frame claims: the source of its packet, or the sender of an ARP message.
pub fn claimed(frame: &[u8]) -> Option<IpAddr> {
    match field(frame, 12)? {
        ARP_TYPE => field::<4>(frame, ARP_SENDER).map(Ipv4Addr::from).map(IpAddr::V4),
        _ => addresses(frame).map(|(source, _)| source),
    }
}

/// A TCP segment in a frame, with nothing unusual about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Over IPv6.
    pub v6: bool,
    /// Where its header begins,
    pub transport: usize,
    /// and its payload,
    pub payload: usize,
    /// and where that ends: a short frame is padded.
    pub end: usize,
}

impl Segment {
    /// None for anything but plain TCP: options of IPv4, fragments and extension headers included.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (v6, transport, end) = match field(frame, 12)? {
            IPV4_TYPE => {
                let [first, _, length @ .., _, _, a, b, _, protocol] =
                    field::<10>(frame, ETHERNET)?;
                let fragment = u16::from_be_bytes([a, b]) & 0x3fff;
                if first != 0x45 || fragment != 0 || protocol != TCP {
                    return None;
                }
                let length = usize::from(u16::from_be_bytes(length));
                (false, ETHERNET + SMALLEST, ETHERNET + length)
            }
            IPV6_TYPE => {
                let [length @ .., next] = field::<3>(frame, ETHERNET + 4)?;
                if next != TCP {
                    return None;
                }
                let length = usize::from(u16::from_be_bytes(length));
                (true, ETHERNET + IPV6, ETHERNET + IPV6 + length)
            }
            _ => return None,
        };
        let [offset] = field::<1>(frame, transport + 12)?;
        let header = usize::from(offset >> 4) * 4;
        let payload = transport + header;
        (header >= SMALLEST && payload <= end && end <= frame.len()).then_some(Self {
            v6,
            transport,
            payload,
            end,
        })
    }
}
