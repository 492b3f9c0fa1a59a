//! The ingress network's ways back: answers that bear the number of the way in their request took
//! are routed there, whatever the client's address. Pure; the rules that give the numbers are
//! `crate::nft::network::entry`'s.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::plan::Found;
use crate::link::{Detours, Mac, Route, Select};
use crate::naming;
use crate::nft::network::UPLINK_ENTRY;
use crate::table::NetworkTable;

/// A node's number: the place of its address in the subnet.
fn number(subnet: Ipv4Net, node: Ipv4Addr) -> u16 {
    // The table's check keeps the subnet within 16 bits.
    (node.to_bits() - subnet.network().to_bits()) as u16
}

/// The other nodes' hardware addresses and numbers.
pub(crate) fn entries(table: &NetworkTable) -> BTreeMap<Mac, u16> {
    if !table.ingress {
        return BTreeMap::new();
    }
    let entry = |node| (naming::node_mac(node), number(table.subnet, node));
    table.peers.iter().map(|peer| entry(peer.node_address)).collect()
}

/// Where answers go; none for networks that nobody asks from outside.
pub(super) fn detours(table: &NetworkTable, found: &Found) -> Detours {
    let mut detours = Detours::new();
    if !table.ingress {
        return detours;
    }
    detours.insert(Select::Plain, None);
    if let Some((link, gateway)) = found.uplink {
        detours.insert(Select::Mark(UPLINK_ENTRY), Some(Route::Via { gateway, link }));
    }
    if let Some(link) = found.vxlan {
        for peer in &table.peers {
            let gateway = peer.node_address;
            let select = Select::Mark(number(table.subnet, gateway));
            detours.insert(select, Some(Route::Via { gateway, link }));
        }
    }
    detours
}
