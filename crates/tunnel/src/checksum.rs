//! The internet checksum (RFC 1071), fast enough for every byte of a network.

use std::net::IpAddr;

/// A sum in progress, of 16-bit words as they lie in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes. All but the last slice of a sum must have an even length.
    pub fn add(mut self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut lanes = [0u64; 8];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        for lane in lanes {
            self.0 += (lane & 0xffff_ffff) + (lane >> 32);
        }
        let (pairs, last) = rest.as_chunks::<2>();
        for pair in pairs {
            self.0 += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = last {
            self.0 += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        self
    }

    /// Adds a number as the wire has it.
    pub fn add_word(mut self, word: u16) -> Self {
        self.0 += u64::from(word.to_be());
        self
    }

    /// The pseudo header of TCP and UDP: addresses, protocol and length of header and payload.
    pub fn pseudo(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> Self {
        let sum = match (source, target) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Self::default().add(&a.octets()).add(&b.octets()),
            (IpAddr::V6(a), IpAddr::V6(b)) => Self::default().add(&a.octets()).add(&b.octets()),
            _ => Self::default(),
        };
        // A superframe's length does not fit 16 bits by chance only: the sum folds it.
        let (high, low) = ((length >> 16) as u16, length as u16);
        sum.add_word(u16::from(protocol)).add_word(high).add_word(low)
    }

    /// The folded sum as bytes of the wire: what the kernel wants in a checksum it is to finish.
    pub fn partial(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// The checksum as bytes of the wire.
    pub fn finish(self) -> [u8; 2] {
        (!u16::from_ne_bytes(self.partial())).to_ne_bytes()
    }

    /// True when what was summed contains its own right checksum.
    pub fn is_right(self) -> bool {
        self.partial() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_plain_one(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(u16::from_be_bytes(Sum::default().add(&bytes).finish()), slow(&bytes));
        }
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.partial(), [0xdd, 0xf2]);
    }
}
