//! The header that a TAP device with offloads puts before each frame: `struct virtio_net_hdr` of
//! the VIRTIO specification 5.1.6, in the byte order of the machine, without the number of buffers.

/// Its bytes.
pub const LENGTH: usize = 10;
/// The checksum at `csum_start + csum_offset` is still to be made.
pub const NEEDS_CSUM: u8 = 1;
/// The checksum was verified.
pub const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside a type when congestion is being told.
const GSO_ECN: u8 = 0x80;

/// What the segments of a superframe are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// One frame, nothing to cut.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either.
    Udp,
}

/// The header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub flags: u8,
    pub gso: Gso,
    /// Bytes of all headers of the frame; a hint.
    pub headers: u16,
    /// Payload of each segment but the last.
    pub gso_size: u16,
    /// Where the transport header begins.
    pub csum_start: u16,
    /// Where in it the checksum is.
    pub csum_offset: u16,
}

impl Header {
    /// None for kinds that were not asked for.
    pub fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let [flags, kind, a, b, c, d, e, f, g, h] = *bytes;
        let gso = match kind & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            _ => return None,
        };
        let word = u16::from_ne_bytes;
        Some(Self {
            flags,
            gso,
            headers: word([a, b]),
            gso_size: word([c, d]),
            csum_start: word([e, f]),
            csum_offset: word([g, h]),
        })
    }

    pub fn bytes(&self) -> [u8; LENGTH] {
        let kind = match self.gso {
            Gso::None => GSO_NONE,
            Gso::Tcp4 => GSO_TCPV4,
            Gso::Tcp6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
        };
        let [a, b] = self.headers.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, kind, a, b, c, d, e, f, g, h]
    }
}
