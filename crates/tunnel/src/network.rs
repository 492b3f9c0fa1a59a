//! Who is where in one network: the way of a frame by its target's hardware address, and whose
//! frames may come from whom. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::layout::{Mac, claimed, macs};
use crate::wanted;

/// A network, looked up by what frames carry.
#[derive(Debug)]
pub struct Network {
    pub vni: u32,
    pub digest: u64,
    table: wanted::Network,
    ways: HashMap<Mac, Ipv4Addr>,
    owners: HashMap<IpAddr, Ipv4Addr>,
}

impl Network {
    pub fn new(table: wanted::Network) -> Self {
        let ways = table.members.iter().map(|m| (m.mac, m.address)).collect();
        let owned = |m: &wanted::Member| {
            let address = m.address;
            m.owns.clone().into_iter().map(move |own| (own, address))
        };
        let owners = table.members.iter().flat_map(owned).collect();
        Self { vni: table.vni, digest: wanted::digest(&table), ways, owners, table }
    }

    /// Data-path address of the node that has this hardware address.
    pub fn way(&self, target: Mac) -> Option<Ipv4Addr> {
        self.ways.get(&target).copied()
    }

    /// Whether the node at `from` may send this frame: its hardware address is the node's, and its
    /// packet's source lives there. What lives nowhere in the network comes through published
    /// ports, or not at all; what every node has may come from every node.
    pub fn admits(&self, from: Ipv4Addr, frame: &[u8]) -> bool {
        let Some((_, mac)) = macs(frame) else { return false };
        let Some(source) = claimed(frame) else { return false };
        if self.way(mac) != Some(from) {
            return false;
        }
        match self.owners.get(&source) {
            Some(owner) => *owner == from,
            None => {
                let is_everywhere = self.table.gateways.contains(&source);
                self.table.transit || is_everywhere || is_link_local(source)
            }
        }
    }
}

/// Neighbour discovery of a node, which is about the link and goes no further.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(transit: bool) -> Network {
        let member = |n: u8, owns: &str| wanted::Member {
            address: Ipv4Addr::new(192, 0, 2, n),
            mac: [2, 0, 0, 0, 0, n],
            owns: vec![owns.parse().unwrap()],
        };
        Network::new(wanted::Network {
            vni: 4097,
            gateways: vec!["10.0.1.1".parse().unwrap()],
            transit,
            members: vec![member(1, "10.0.1.11"), member(2, "10.0.1.12")],
        })
    }

    fn frame(mac: u8, source: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0; 34];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, mac]);
        frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
        frame[26..30].copy_from_slice(&source);
        frame
    }

    #[test]
    fn a_node_may_send_for_its_own_and_for_nobody_else() {
        let (network, one) = (network(false), Ipv4Addr::new(192, 0, 2, 1));
        assert!(network.admits(one, &frame(1, [10, 0, 1, 11])));
        assert!(network.admits(one, &frame(1, [10, 0, 1, 1])), "the gateway is everywhere");
        for (why, frame) in [
            ("a container of another node", frame(1, [10, 0, 1, 12])),
            ("nobody's address", frame(1, [10, 0, 1, 99])),
            ("an address outside", frame(1, [8, 8, 8, 8])),
            ("another node's device", frame(2, [10, 0, 1, 11])),
            ("half a frame", vec![0; 20]),
        ] {
            assert!(!network.admits(one, &frame), "{why}");
        }
    }

    #[test]
    fn published_ports_carry_clients_from_anywhere_but_nobody_elses_containers() {
        let (network, one) = (network(true), Ipv4Addr::new(192, 0, 2, 1));
        assert!(network.admits(one, &frame(1, [8, 8, 8, 8])));
        assert!(!network.admits(one, &frame(1, [10, 0, 1, 12])));
    }
}
