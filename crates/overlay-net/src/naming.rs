//! Names of links, derived from ids only, so that whatever a crash left behind is recognised.

use std::net::Ipv4Addr;

use crate::error::{NetError, Result};
use crate::link::Mac;

/// Prefix of the host's end of every uplink; the host's rules match on it.
pub(crate) const UPLINK_PREFIX: &str = "su";
/// A network's end of its uplink.
pub(crate) const UPLINK_INNER: &str = "up0";
/// Prefix of a container's link in its network's namespace.
pub(crate) const PORT_PREFIX: &str = "c";
/// Hardware address of a network's end of every container link: one router, many links.
pub(crate) const ROUTER_MAC: Mac = [0x02, 0x53, 0x57, 0x41, 0x52, 0x4d];

/// Longest id that may name a file under the run directory.
const ID_MAX: usize = 128;

/// The host's end of a network's uplink.
pub(crate) fn uplink(network: &str) -> String {
    format!("{UPLINK_PREFIX}{}", digest(&[network]))
}

/// A container's link in its network's namespace.
pub(crate) fn port(network: &str, sandbox: &str) -> String {
    format!("{PORT_PREFIX}{}", digest(&[network, sandbox]))
}

/// A network's VXLAN device.
pub(crate) fn vxlan(vni: u32) -> String {
    format!("vx{vni}")
}

/// A container's link as the container sees it.
pub(crate) fn inner(position: usize) -> String {
    format!("eth{position}")
}

/// Hardware address of a container's link, unique in its network.
pub(crate) fn endpoint_mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Hardware address of a node's VXLAN device in the network where the node has that address.
pub(crate) fn node_mac(node_address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = node_address.octets();
    [0x02, 0x53, a, b, c, d]
}

/// Refuses ids that cannot be a file name.
pub(crate) fn check_id(kind: &str, id: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = !id.is_empty() && id.len() <= ID_MAX && !id.starts_with('.');
    if fits && id.chars().all(plain) {
        return Ok(());
    }
    Err(NetError::Invalid(format!(
        "{kind} id {id:?} is not 1 to {ID_MAX} letters, digits, '-', '_' or '.'"
    )))
}

/// Twelve hex digits (FNV-1a): with the longest prefix they fit a link name.
fn digest(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{:012x}", hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::NAME_MAX;

    #[test]
    fn names_fit_and_depend_on_both_ids() {
        let long = "x".repeat(ID_MAX);
        for name in [uplink(&long), port(&long, &long), vxlan((1 << 24) - 1), inner(999)] {
            assert!(name.len() <= NAME_MAX, "{name}");
        }
        assert_ne!(port("ab", "c"), port("a", "bc"));
        assert_eq!(port("a", "b"), port("a", "b"));
    }

    #[test]
    fn an_id_that_would_leave_the_directory_is_refused() {
        for id in ["", "..", "a/b", ".x", "a\0"] {
            assert!(check_id("network", id).is_err(), "{id:?}");
        }
        check_id("network", "n7Xk_2-a.b").unwrap();
    }
}
