//! Addresses of the uplinks: the pair of links between a network's namespace and the host's. They
//! are link-local and unique on the node, so networks with the same subnet never meet.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::{NetError, Result};

/// Link-local, clear of the cloud providers' metadata address 169.254.169.254.
pub(crate) const RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 128, 0), 19);
/// The host's own loopback addresses.
pub(crate) const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
/// Uplinks per node: two addresses each.
const SLOTS: u16 = 4096;

/// Number of an uplink on its node.
pub(crate) type Slot = u16;

/// Lowest free slot.
pub(crate) fn free(taken: &BTreeSet<Slot>) -> Result<Slot> {
    (0..SLOTS)
        .find(|slot| !taken.contains(slot))
        .ok_or_else(|| NetError::Invalid(format!("all {SLOTS} networks of this node are taken")))
}

/// Address of the host's end.
pub(crate) fn host_end(slot: Slot) -> Ipv4Addr {
    Ipv4Addr::from_bits(RANGE.network().to_bits() + u32::from(slot) * 2)
}

/// Address of the network's end.
pub(crate) fn network_end(slot: Slot) -> Ipv4Addr {
    Ipv4Addr::from_bits(host_end(slot).to_bits() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_in_the_range_and_the_lowest_free_one_is_taken() {
        assert!(RANGE.contains(&network_end(SLOTS - 1)));
        assert_eq!(free(&BTreeSet::from([0, 1, 3])).unwrap(), 2);
        assert!(free(&(0..SLOTS).collect()).is_err());
    }
}
