//! What the kernel should hold for one network: pure functions of its table and of what is local.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::detour::entries;
use crate::link::{Neighbour, Route};
use crate::naming;
use crate::nft::network::{Base, Entry, NetworkRules, Target};
use crate::record::{BoundPort, NetworkRecord};
use crate::table::{IngressPort, NetworkTable, Protocol};
use crate::uplink;

/// Links of the namespace, by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub vxlan: Option<u32>,
    /// And the address of the host's end.
    pub uplink: Option<(u32, Ipv4Addr)>,
    /// Containers of this node.
    pub ports: BTreeMap<Ipv4Addr, u32>,
}

/// The paths of a network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub routes: BTreeMap<Ipv4Net, Route>,
    pub neighbours: BTreeSet<(u32, Neighbour)>,
    vxlan: Option<u32>,
}

impl Plan {
    /// The entry is on a link where every entry is this crate's.
    pub fn owns(&self, entry: &(u32, Neighbour)) -> bool {
        Some(entry.0) == self.vxlan
    }

    pub fn has(&self, entry: &(u32, Neighbour)) -> bool {
        self.neighbours.contains(entry)
    }
}

/// Routes and neighbours. A container that is here and, by an old table, also elsewhere is here.
pub(crate) fn plan(table: &NetworkTable, found: &Found) -> Plan {
    let mut plan = Plan { vxlan: found.vxlan, ..Plan::default() };
    // An address nobody has is refused at once, and never leaves by the uplink.
    for subnet in table.subnets() {
        plan.routes.insert(subnet.trunc(), Route::Unreachable);
    }
    if let Some(link) = found.vxlan {
        let mut gateways = BTreeMap::new();
        for peer in &table.peers {
            let IpAddr::V4(node) = peer.underlay else { continue };
            let (address, mac) = (peer.node_address, naming::node_mac(peer.node_address));
            gateways.insert(peer.underlay, address);
            plan.neighbours.insert((link, Neighbour::Address { address, mac }));
            plan.neighbours.insert((link, Neighbour::Forward { mac, node }));
            plan.routes.insert(Ipv4Net::from(address), Route::Link { link });
        }
        for endpoint in &table.endpoints {
            if let Some(gateway) = gateways.get(&endpoint.underlay) {
                let route = Route::Via { gateway: *gateway, link };
                plan.routes.insert(Ipv4Net::from(endpoint.address), route);
            }
        }
    }
    if let Some((link, host)) = found.uplink {
        plan.routes.insert(Ipv4Net::from(host), Route::Link { link });
        plan.routes.insert(Ipv4Net::default(), Route::Via { gateway: host, link });
    }
    for (address, link) in &found.ports {
        let mac = naming::endpoint_mac(*address);
        plan.routes.insert(Ipv4Net::from(*address), Route::Link { link: *link });
        plan.neighbours.insert((*link, Neighbour::Address { address: *address, mac }));
    }
    plan
}

/// What the whole node contributes to the rules of one network.
pub(crate) struct NodePart<'a> {
    pub ingress: &'a [IngressPort],
    pub ports: Vec<&'a BoundPort>,
    /// Containers of the ingress network that are to reach nothing outside.
    pub closed: BTreeSet<Ipv4Addr>,
}

/// The rules of a network.
pub(crate) fn rules(
    record: &NetworkRecord,
    table: &NetworkTable,
    node: NodePart<'_>,
) -> NetworkRules {
    let uplink = (!record.internal).then(|| uplink::network_end(record.slot));
    let base = Base {
        subnets: record.subnets().map(|subnet| subnet.trunc()).collect(),
        six: record.six,
        node_address: record.node_address,
        uplink,
        ingress: record.ingress.then(|| naming::vxlan(record.vni)),
    };
    let mut targets: BTreeMap<Entry, Target> = BTreeMap::new();
    for service in &table.services {
        let (backends, balance) = (service.backends.clone(), service.balance);
        targets.insert(Entry::Vip(service.address), Target { backends, port: None, balance });
    }
    if record.ingress {
        let remote: BTreeSet<_> = table.endpoints.iter().map(|e| e.address).collect();
        for (port, inner) in inner_ports(node.ingress) {
            let service = targets.get(&Entry::Vip(port.vip));
            let mut backends = service.map(|s| s.backends.clone()).unwrap_or_default();
            backends.retain(|address| !port.local || !remote.contains(address));
            let balance = service.map(|s| s.balance).unwrap_or_default();
            let target = Target { backends, port: Some(port.target), balance };
            targets.insert(Entry::Port(port.protocol, inner), target);
        }
    }
    let here = node.ports.into_iter().filter(|bound| bound.network_id == record.id);
    let host = here
        .map(|bound| ((bound.port.protocol, bound.inner), (bound.address, bound.port.target)))
        .collect();
    let closed = if record.ingress { node.closed } else { BTreeSet::new() };
    NetworkRules { base, targets, host, entries: entries(table), closed }
}

/// The port at the ingress network's end of the uplink that stands for each published one: the
/// same number, unless another address of the host has it too. A function of the whole set.
pub(crate) fn inner_ports(ports: &[IngressPort]) -> Vec<(IngressPort, u16)> {
    let mut taken: BTreeSet<(Protocol, u16)> =
        ports.iter().map(|port| (port.protocol, port.published)).collect();
    let mut first = BTreeSet::new();
    let mut inner = Vec::with_capacity(ports.len());
    for port in ports {
        let mut number = port.published;
        if !first.insert((port.protocol, port.published)) {
            let free = |number: &u16| !taken.contains(&(port.protocol, *number));
            number = (1..=u16::MAX).rev().find(free).unwrap_or(number);
            taken.insert((port.protocol, number));
        }
        inner.push((*port, number));
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Select;
    use crate::network::detour::detours;
    use crate::table::{Peer, RemoteEndpoint};

    fn table() -> NetworkTable {
        NetworkTable {
            id: "n1".to_owned(),
            name: "web".to_owned(),
            vni: 4097,
            subnet: "10.0.1.0/24".parse().unwrap(),
            more: vec![],
            six: None,
            gateway: "10.0.1.1".parse().unwrap(),
            node_address: "10.0.1.2".parse().unwrap(),
            mtu: None,
            internal: false,
            ingress: false,
            peers: vec![Peer {
                underlay: "192.0.2.2".parse().unwrap(),
                node_address: "10.0.1.3".parse().unwrap(),
                mtu: None,
            }],
            endpoints: vec![RemoteEndpoint {
                address: "10.0.1.9".parse().unwrap(),
                underlay: "192.0.2.2".parse().unwrap(),
            }],
            services: vec![],
        }
    }

    #[test]
    fn a_container_listed_elsewhere_but_present_here_is_here() {
        let address: Ipv4Addr = "10.0.1.9".parse().unwrap();
        let ports = BTreeMap::from([(address, 7)]);
        let plan = plan(&table(), &Found { vxlan: Some(3), uplink: None, ports });
        assert_eq!(plan.routes[&Ipv4Net::from(address)], Route::Link { link: 7 });
    }

    #[test]
    fn a_remote_container_is_reached_through_its_node() {
        let plan = plan(&table(), &Found { vxlan: Some(3), ..Found::default() });
        let gateway = "10.0.1.3".parse().unwrap();
        assert_eq!(plan.routes[&"10.0.1.9/32".parse().unwrap()], Route::Via { gateway, link: 3 });
        let mac = naming::node_mac(gateway);
        let node = "192.0.2.2".parse().unwrap();
        assert!(plan.has(&(3, Neighbour::Forward { mac, node })));
        assert!(plan.has(&(3, Neighbour::Address { address: gateway, mac })));
    }

    #[test]
    fn a_table_whose_endpoint_is_on_no_peer_is_refused_with_both_named() {
        let mut bad = table();
        bad.peers.clear();
        let message = bad.check().unwrap_err().to_string();
        assert!(message.contains("10.0.1.9") && message.contains("192.0.2.2"), "{message}");
        let mut far = table();
        far.gateway = "10.9.0.1".parse().unwrap();
        assert!(far.check().unwrap_err().to_string().contains("10.0.1.0/24"));
    }

    #[test]
    fn one_number_on_two_addresses_leads_two_ways_and_on_one_keeps_its_number() {
        let port = |host_ip, published| IngressPort {
            protocol: Protocol::Tcp,
            published,
            target: 80,
            vip: "10.0.1.5".parse().unwrap(),
            host_ip,
            local: false,
        };
        let at = |last| Some(Ipv4Addr::new(192, 0, 2, last));
        let ports = [port(at(1), 80), port(at(2), 80), port(None, u16::MAX)];
        let inner: Vec<u16> = inner_ports(&ports).into_iter().map(|(_, inner)| inner).collect();
        assert_eq!(inner, [80, u16::MAX - 1, u16::MAX]);
    }

    #[test]
    fn answers_of_the_ingress_network_have_a_way_to_every_node_and_to_the_host() {
        let found = Found {
            vxlan: Some(3),
            uplink: Some((4, Ipv4Addr::new(169, 254, 128, 0))),
            ..Found::default()
        };
        assert!(detours(&table(), &found).is_empty());
        let ingress = NetworkTable { ingress: true, ..table() };
        let ways = detours(&ingress, &found);
        let gateway = "10.0.1.3".parse().unwrap();
        assert_eq!(ways[&Select::Mark(3)], Some(Route::Via { gateway, link: 3 }));
        let gateway = Ipv4Addr::new(169, 254, 128, 0);
        assert_eq!(ways[&Select::Mark(u16::MAX)], Some(Route::Via { gateway, link: 4 }));
        assert_eq!(entries(&ingress)[&naming::node_mac("10.0.1.3".parse().unwrap())], 3);
        let wide = NetworkTable { subnet: "10.0.0.0/15".parse().unwrap(), ..ingress };
        assert!(wide.check().unwrap_err().to_string().contains("larger than /16"));
    }
}
