//! Joins TCP segments that follow one another to superframes, so that the kernel handles them
//! once. Joins only what the kernel, cutting the superframe again, would turn into the same
//! segments: checksums are verified first, and a segment shorter than the others ends its
//! superframe. Order within a flow is kept.

use crate::checksum::Sum;
use crate::layout::{ETHERNET, IPV6, Segment, TCP, addresses, field, put, word};
use crate::vnet::{DATA_VALID, Gso, Header, NEEDS_CSUM};

/// Flows joined at a time; what comes of one more sends the oldest on its way.
const FLOWS: usize = 8;
/// Largest packet of IPv4, and payload of IPv6.
const LARGEST: usize = 65_535;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
/// Place of the checksum in a TCP header.
const CHECKSUM: usize = 16;

/// Superframes in the making. `out` gets header and frame of each that is whole.
#[derive(Debug, Default)]
pub struct Join {
    pending: Vec<Pending>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Pending {
    frame: Vec<u8>,
    segment: Segment,
    /// Payload of the first segment, and so of each but the last.
    size: usize,
    count: usize,
    next_sequence: u32,
    /// Nothing may follow any more.
    closed: bool,
}

impl Join {
    /// Takes one frame; what cannot be joined goes out at once, after its flow's earlier ones.
    pub fn push(&mut self, frame: &[u8], out: &mut impl FnMut(&Header, &[u8])) {
        let Some(segment) = Segment::of(frame) else {
            return out(&Header::default(), frame);
        };
        let frame = &frame[..segment.end];
        let same = |p: &Pending| p.is_same_flow(frame, &segment);
        let place = self.pending.iter().position(same);
        let joinable = is_joinable(frame, &segment);
        if let Some(place) = place {
            let pending = &mut self.pending[place];
            if joinable && pending.accepts(frame, &segment) {
                return pending.append(frame, &segment);
            }
            self.send(place, out);
        }
        if !joinable {
            return out(&Header::default(), frame);
        }
        if self.pending.len() == FLOWS {
            self.send(0, out);
        }
        let buffer = self.spare.pop().unwrap_or_default();
        self.pending.push(Pending::begin(buffer, frame, segment));
    }

    /// Sends everything on its way.
    pub fn flush(&mut self, out: &mut impl FnMut(&Header, &[u8])) {
        while !self.pending.is_empty() {
            self.send(0, out);
        }
    }

    fn send(&mut self, place: usize, out: &mut impl FnMut(&Header, &[u8])) {
        let mut pending = self.pending.remove(place);
        let header = pending.finish();
        out(&header, &pending.frame);
        pending.frame.clear();
        self.spare.push(pending.frame);
    }
}

impl Pending {
    fn begin(mut buffer: Vec<u8>, frame: &[u8], segment: Segment) -> Self {
        buffer.extend_from_slice(frame);
        let size = segment.end - segment.payload;
        Self {
            frame: buffer,
            segment,
            size,
            count: 1,
            next_sequence: sequence(frame, &segment).wrapping_add(size as u32),
            closed: flags(frame, &segment) & PSH != 0,
        }
    }

    /// Addresses and ports are the same.
    fn is_same_flow(&self, frame: &[u8], segment: &Segment) -> bool {
        let places = |s: &Segment| match s.v6 {
            false => (ETHERNET + 12, s.transport + 4),
            true => (ETHERNET + 8, s.transport + 4),
        };
        if segment.v6 != self.segment.v6 {
            return false;
        }
        let (start, end) = places(segment);
        frame[start..end] == self.frame[start..end]
    }

    /// The segment is what comes next, and differs in nothing but what cutting makes anew.
    fn accepts(&self, frame: &[u8], segment: &Segment) -> bool {
        let (own, at) = (&self.frame[..], segment.transport);
        let size = segment.end - segment.payload;
        let same = |range: std::ops::Range<usize>| own[range.clone()] == frame[range];
        let network = match segment.v6 {
            true => same(ETHERNET..ETHERNET + 4) && same(ETHERNET + 6..ETHERNET + 8),
            // Version and service, fragment bits and lifetime.
            false => same(ETHERNET..ETHERNET + 2) && same(ETHERNET + 6..ETHERNET + 10),
        };
        let room = LARGEST - if segment.v6 { 0 } else { 20 };
        let total = self.frame.len() + size - at;
        !self.closed
            && segment.payload == self.segment.payload
            && size <= self.size
            && total <= room
            && sequence(frame, segment) == self.next_sequence
            && same(0..ETHERNET)
            && network
            // Acknowledgement and header length, window, options.
            && same(at + 8..at + 13)
            && same(at + 14..at + 16)
            && same(at + 18..segment.payload)
            && (flags(own, segment) ^ flags(frame, segment)) & !PSH == 0
    }

    fn append(&mut self, frame: &[u8], segment: &Segment) {
        let payload = &frame[segment.payload..segment.end];
        self.frame.extend_from_slice(payload);
        self.count += 1;
        self.next_sequence = self.next_sequence.wrapping_add(payload.len() as u32);
        let pushed = flags(frame, segment) & PSH;
        self.frame[self.segment.transport + 13] |= pushed;
        self.closed = pushed != 0 || payload.len() < self.size;
    }

    /// Makes the headers those of the whole.
    fn finish(&mut self) -> Header {
        if self.count == 1 {
            return Header { flags: DATA_VALID, ..Header::default() };
        }
        let (frame, Segment { v6, transport, payload, .. }) = (&mut self.frame, self.segment);
        let length = frame.len() - ETHERNET;
        if v6 {
            put(frame, ETHERNET + 4, &((length - IPV6) as u16).to_be_bytes());
        } else {
            put(frame, ETHERNET + 2, &(length as u16).to_be_bytes());
            put(frame, ETHERNET + 10, &[0, 0]);
            let checksum = Sum::default().add(&frame[ETHERNET..transport]).finish();
            put(frame, ETHERNET + 10, &checksum);
        }
        if let Some((source, target)) = addresses(frame) {
            let partial = Sum::pseudo(source, target, TCP, frame.len() - transport).partial();
            put(frame, transport + CHECKSUM, &partial);
        }
        Header {
            flags: NEEDS_CSUM,
            gso: if v6 { Gso::Tcp6 } else { Gso::Tcp4 },
            headers: payload as u16,
            gso_size: self.size as u16,
            csum_start: transport as u16,
            csum_offset: CHECKSUM as u16,
        }
    }
}

/// Has payload, says nothing but "acknowledged", and its checksums are right.
fn is_joinable(frame: &[u8], segment: &Segment) -> bool {
    let plain = flags(frame, segment) & !PSH == ACK && word(frame, segment.transport + 18) == 0;
    let Some((source, target)) = addresses(frame) else { return false };
    let tcp = &frame[segment.transport..segment.end];
    let network = segment.v6 || Sum::default().add(&frame[ETHERNET..segment.transport]).is_right();
    let whole = || Sum::pseudo(source, target, TCP, tcp.len()).add(tcp).is_right();
    plain && segment.end > segment.payload && network && whole()
}

fn sequence(frame: &[u8], segment: &Segment) -> u32 {
    field(frame, segment.transport + 4).map_or(0, u32::from_be_bytes)
}

fn flags(frame: &[u8], segment: &Segment) -> u8 {
    frame[segment.transport + 13]
}

#[cfg(test)]
mod tests;
