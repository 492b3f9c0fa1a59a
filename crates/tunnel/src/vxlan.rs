//! VXLAN over UDP over IPv4 (RFC 7348) as a plain packet: what goes into WireGuard.

use std::net::Ipv4Addr;

use crate::checksum::Sum;
use crate::layout::{UDP, field, macs, word};

/// Bytes before the inner frame.
pub const HEADER: usize = IPV4 + 8 + 8;
const IPV4: usize = 20;
/// The identifier is valid; no other flag is set.
const FLAGS: [u8; 4] = [0x08, 0, 0, 0];
const TTL: u8 = 64;
/// Source ports are a hash of the flow, from the range for passing uses (RFC 6335).
const SOURCE_PORT_MIN: u16 = 0xc000;

/// The two ends of a tunnel and the port of VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub source: Ipv4Addr,
    pub target: Ipv4Addr,
    pub port: u16,
}

/// Writes the headers for a frame of `length` bytes to the front of `out`.
pub fn wrap(ends: &Ends, vni: u32, flow: u16, length: usize, out: &mut [u8]) {
    let (total, udp) = ((HEADER + length) as u16, (HEADER - IPV4 + length) as u16);
    let mut header = [0; HEADER];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[8] = TTL;
    header[9] = UDP;
    header[12..16].copy_from_slice(&ends.source.octets());
    header[16..20].copy_from_slice(&ends.target.octets());
    let checksum = Sum::default().add(&header[..IPV4]).finish();
    header[10..12].copy_from_slice(&checksum);
    header[20..22].copy_from_slice(&(flow | SOURCE_PORT_MIN).to_be_bytes());
    header[22..24].copy_from_slice(&ends.port.to_be_bytes());
    // The checksum of UDP stays 0, none: the packet is authenticated as a whole.
    header[24..26].copy_from_slice(&udp.to_be_bytes());
    header[28..32].copy_from_slice(&FLAGS);
    header[32..36].copy_from_slice(&(vni << 8).to_be_bytes());
    out[..HEADER].copy_from_slice(&header);
}

/// The network and the frame in a packet from `ends.source` to `ends.target`; none for any other.
pub fn unwrap<'a>(ends: &Ends, packet: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let [version, ..] = *packet else { return None };
    let fragment = word(packet, 6) & 0x3fff;
    let expected = version == 0x45
        && fragment == 0
        && packet.get(9) == Some(&UDP)
        && field(packet, 12) == Some(ends.source.octets())
        && field(packet, 16) == Some(ends.target.octets())
        && word(packet, 22) == ends.port;
    // The other flags are reserved and may be anything; the one must be set.
    let [flags] = field::<1>(packet, 28)?;
    if !expected || flags & FLAGS[0] == 0 {
        return None;
    }
    let vni = field(packet, 32).map(u32::from_be_bytes)? >> 8;
    let frame = packet.get(HEADER..)?;
    macs(frame).is_some().then_some((vni, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        let [source, target] = [1, 2].map(|n| Ipv4Addr::new(192, 0, 2, n));
        Ends { source, target, port: 4789 }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped_by_the_other_end_only() {
        let mut packet = vec![7; HEADER + 60];
        wrap(&ends(), 4097, 11, 60, &mut packet);
        assert_eq!(unwrap(&ends(), &packet), Some((4097, &[7; 60][..])));
        assert!(Sum::default().add(&packet[..IPV4]).is_right());
        let other = Ends { source: Ipv4Addr::new(192, 0, 2, 3), ..ends() };
        assert_eq!(unwrap(&other, &packet), None);
        assert_eq!(unwrap(&ends(), &packet[..HEADER + 10]), None);
        assert_eq!(unwrap(&ends(), &[]), None);
    }
}
