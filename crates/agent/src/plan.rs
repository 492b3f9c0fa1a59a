//! From assignments to what the data plane and the resolver understand: tables, zones, ingress ports. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use swarm_api::{EndpointAssignment, LbPolicy, NetworkAssignment, PortConfig, Protocol};
use swarm_dns::Zone;
use swarm_overlay_net::{
    Balance, IDLE_MAX, IngressPort, NetworkTable, Peer, Policy, Protocol as NetProtocol,
    RemoteEndpoint, Six, Vip,
};

use crate::assignment::Assignments;

/// Why a network cannot be realised yet; shown on tasks that wait for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The allocator has not given this node an address.
    #[error(
        "this node has no address in network {0} yet: its addresses may be exhausted, see the \
         network's subnet with network inspect"
    )]
    NoNodeAddress(String),
    /// Something in the assignment does not parse.
    #[error("network {network}: invalid {what} \"{value}\"")]
    Invalid {
        /// Name of the network.
        network: String,
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// The table of `network` on node `self_id`.
pub fn table(
    set: &Assignments,
    network: &NetworkAssignment,
    self_id: &str,
) -> Result<NetworkTable, PlanError> {
    if network.node_address.is_empty() {
        return Err(PlanError::NoNodeAddress(network.name.clone()));
    }
    let spec = network.spec.as_ref();
    let peers = peers(set, network);
    Ok(NetworkTable {
        id: network.id.clone(),
        name: network.name.clone(),
        vni: network.vni,
        subnet: parse(network, "subnet", &network.subnet)?,
        more: more(network)?,
        six: six(network)?,
        gateway: parse(network, "gateway", &network.gateway)?,
        node_address: parse(network, "node address", &network.node_address)?,
        mtu: mtu(network)?,
        internal: spec.is_some_and(|s| s.internal),
        ingress: spec.is_some_and(|s| s.ingress),
        endpoints: remote_endpoints(set, &network.id, self_id, &peers),
        peers,
        services: set.endpoints_on(&network.id).filter_map(vip).collect(),
    })
}

fn more(network: &NetworkAssignment) -> Result<Vec<Ipv4Net>, PlanError> {
    network.more_subnets.iter().map(|text| parse(network, "subnet", text)).collect()
}

fn six(network: &NetworkAssignment) -> Result<Option<Six>, PlanError> {
    if network.subnet6.is_empty() {
        return Ok(None);
    }
    let subnet = parse(network, "subnet", &network.subnet6)?;
    let gateway = parse(network, "gateway", &network.gateway6)?;
    Ok(Some(Six { subnet, gateway }))
}

/// The names of `network`.
pub fn zone(set: &Assignments, network: &NetworkAssignment) -> Zone {
    let mut zone = named(set, network);
    if let Ok(Some(six)) = six(network) {
        zone.add_six(|address| six.of(address));
    }
    zone
}

/// Its names with their IPv4 addresses.
fn named(set: &Assignments, network: &NetworkAssignment) -> Zone {
    let mut zone = Zone::new(&network.name);
    for endpoint in set.endpoints_on(&network.id) {
        let tasks = format!("tasks.{}", endpoint.service_name);
        let names = || std::iter::once(&endpoint.service_name).chain(&endpoint.aliases);
        names().for_each(|name| zone.declare(name));
        zone.declare(&tasks);
        let virtual_ip: Option<IpAddr> = endpoint.virtual_ip.parse().ok();
        if let Some(address) = virtual_ip {
            names().for_each(|name| zone.insert(name, address));
            zone.insert_reverse(address, &endpoint.service_name);
        }
        for backend in endpoint.backends.iter().filter(|b| b.ready) {
            let Ok(address) = backend.address.parse() else { continue };
            zone.insert(&tasks, address);
            zone.insert(&backend.task_name, address);
            zone.insert_reverse(address, &backend.task_name);
            for alias in &endpoint.aliases {
                zone.insert(&format!("tasks.{alias}"), address);
            }
            if virtual_ip.is_none() {
                names().for_each(|name| zone.insert(name, address));
            }
        }
    }
    zone
}

/// Ports that every node publishes.
pub fn ingress_ports(set: &Assignments) -> Vec<IngressPort> {
    set.endpoints
        .values()
        .filter_map(|endpoint| Some((endpoint, endpoint.virtual_ip.parse().ok()?)))
        .flat_map(|(endpoint, vip)| endpoint.ports.iter().filter_map(move |p| ingress(p, vip)))
        .collect()
}

fn ingress(port: &PortConfig, vip: Ipv4Addr) -> Option<IngressPort> {
    Some(IngressPort {
        protocol: protocol(port.protocol()),
        published: u16::try_from(port.published).ok()?,
        target: u16::try_from(port.target).ok()?,
        vip,
        host_ip: match port.host_ip.as_str() {
            "" => None,
            // What cannot be read must not be open to everybody.
            address => Some(address.parse().ok()?),
        },
        local: port.local,
    })
}

/// The data plane's protocol.
pub fn protocol(protocol: Protocol) -> NetProtocol {
    match protocol {
        Protocol::Tcp => NetProtocol::Tcp,
        Protocol::Udp => NetProtocol::Udp,
        Protocol::Sctp => NetProtocol::Sctp,
    }
}

fn vip(endpoint: &EndpointAssignment) -> Option<Vip> {
    let ready = endpoint.backends.iter().filter(|b| b.ready);
    let mut backends: Vec<Ipv4Addr> = ready.filter_map(|b| b.address.parse().ok()).collect();
    // The same order on every node: a client is led to the same backend wherever it comes in.
    backends.sort_unstable();
    Some(Vip { address: endpoint.virtual_ip.parse().ok()?, backends, balance: balance(endpoint) })
}

fn balance(endpoint: &EndpointAssignment) -> Balance {
    let policy = match endpoint.lb_policy() {
        LbPolicy::RoundRobin => Policy::InTurn,
        LbPolicy::Random => Policy::Random,
        LbPolicy::SourceHash => Policy::SourceHash,
    };
    // The door admits whole seconds from 1 to the most.
    let seconds = |d: &prost_types::Duration| u32::try_from(d.seconds).unwrap_or(IDLE_MAX);
    let idle = endpoint.idle_timeout.as_ref().map(|d| seconds(d).clamp(1, IDLE_MAX));
    Balance { policy, idle }
}

fn remote_endpoints(
    set: &Assignments,
    network_id: &str,
    self_id: &str,
    nodes: &[Peer],
) -> Vec<RemoteEndpoint> {
    // A task shows up once per service and network; the map makes the order stable.
    let mut endpoints: BTreeMap<Ipv4Addr, IpAddr> = BTreeMap::new();
    for backend in set.endpoints_on(network_id).flat_map(|e| &e.backends) {
        if backend.node_id == self_id {
            continue;
        }
        let underlay = set.peers.get(&backend.node_id).and_then(|p| p.data_path_addr.parse().ok());
        // Until its node has joined the network there is no way to it.
        let underlay = underlay.filter(|u| nodes.iter().any(|n| n.underlay == *u));
        if let (Ok(address), Some(underlay)) = (backend.address.parse(), underlay) {
            endpoints.insert(address, underlay);
        }
    }
    endpoints.into_iter().map(|(address, underlay)| RemoteEndpoint { address, underlay }).collect()
}

fn peers(set: &Assignments, network: &NetworkAssignment) -> Vec<Peer> {
    set.peers
        .values()
        .filter_map(|peer| {
            let attachment = peer.attachments.iter().find(|a| a.network_id == network.id)?;
            Some(Peer {
                underlay: peer.data_path_addr.parse().ok()?,
                node_address: attachment.address.parse().ok()?,
                mtu: Some(peer.data_path_mtu).filter(|mtu| *mtu > 0),
            })
        })
        .collect()
}

fn mtu(network: &NetworkAssignment) -> Result<Option<u32>, PlanError> {
    let options = network.spec.as_ref().map(|s| &s.driver_opts);
    let value =
        options.and_then(|o| o.get("mtu").or_else(|| o.get("com.docker.network.driver.mtu")));
    value.map(|value| parse(network, "mtu", value)).transpose()
}

fn parse<T: std::str::FromStr>(
    network: &NetworkAssignment,
    what: &'static str,
    value: &str,
) -> Result<T, PlanError> {
    value.parse().map_err(|_| PlanError::Invalid {
        network: network.name.clone(),
        what,
        value: value.to_owned(),
    })
}

/// A subnet's first address that is not its own: where a node-local network has its gateway.
pub fn first_address(subnet: Ipv4Net) -> Option<Ipv4Addr> {
    subnet.hosts().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_api::{Backend, NodeAttachment, PeerAssignment};

    fn fixture() -> (Assignments, NetworkAssignment) {
        let backend = |task: &str, address: &str, node: &str, ready| Backend {
            task_id: task.into(),
            task_name: format!("web.1.{task}"),
            address: address.into(),
            node_id: node.into(),
            ready,
        };
        let endpoint = EndpointAssignment {
            id: "s1/net1".into(),
            service_name: "stack_web".into(),
            network_id: "net1".into(),
            virtual_ip: "10.0.1.2".into(),
            aliases: vec!["web".into()],
            backends: vec![
                backend("t1", "10.0.1.5", "n1", true),
                backend("t2", "10.0.1.6", "n2", true),
                backend("t3", "10.0.1.7", "n2", false),
            ],
            ..EndpointAssignment::default()
        };
        let peer = PeerAssignment {
            id: "n2".into(),
            data_path_addr: "192.168.7.2".into(),
            attachments: vec![NodeAttachment {
                network_id: "net1".into(),
                address: "10.0.1.9".into(),
            }],
            ..PeerAssignment::default()
        };
        let set = Assignments {
            endpoints: [(endpoint.id.clone(), endpoint)].into(),
            peers: [(peer.id.clone(), peer)].into(),
            ..Assignments::default()
        };
        let network = NetworkAssignment {
            id: "net1".into(),
            name: "shop".into(),
            vni: 4097,
            subnet: "10.0.1.0/24".into(),
            gateway: "10.0.1.1".into(),
            node_address: "10.0.1.8".into(),
            ..NetworkAssignment::default()
        };
        (set, network)
    }

    #[test]
    fn remote_tasks_are_routed_even_before_they_are_ready() {
        let (set, network) = fixture();
        let table = table(&set, &network, "n1").unwrap();
        let remote: Vec<_> = table.endpoints.iter().map(|e| e.address.to_string()).collect();
        assert_eq!(remote, ["10.0.1.6", "10.0.1.7"]);
        assert_eq!(table.services[0].backends.len(), 2);
        assert_eq!(table.peers.len(), 1);
    }

    #[test]
    fn a_service_is_named_by_its_address_and_its_ready_tasks() {
        let (set, network) = fixture();
        let zone = zone(&set, &network);
        let vip: IpAddr = "10.0.1.2".parse().unwrap();
        assert_eq!(zone.addresses("stack_web"), Some([vip].as_slice()));
        assert_eq!(zone.addresses("web"), Some([vip].as_slice()));
        assert_eq!(zone.addresses("tasks.web").unwrap().len(), 2);
        assert!(zone.addresses("web.1.t3").is_none());
    }

    #[test]
    fn in_a_network_with_ipv6_every_name_has_both_addresses() {
        let (set, mut network) = fixture();
        network.subnet6 = "fd00:1::/64".into();
        network.gateway6 = "fd00:1::1".into();
        network.more_subnets = vec!["10.0.2.0/24".into()];
        let table = table(&set, &network, "n1").unwrap();
        assert_eq!(table.more.len(), 1);
        let six = table.six.unwrap();
        let four: Ipv4Addr = "10.0.1.5".parse().unwrap();
        // What the managers show must be what the node does.
        assert_eq!(six.of(four), swarm_api::subnet::six(six.subnet, four));
        let zone = zone(&set, &network);
        let web: Vec<String> =
            zone.addresses("web").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(web, ["10.0.1.2", "fd00:1::a00:102"]);
        assert_eq!(zone.addresses("tasks.web").unwrap().len(), 4);
        assert_eq!(zone.name_of(six.of(four).into()), Some("web.1.t1"));
    }

    #[test]
    fn a_network_without_an_address_for_this_node_says_so() {
        let (set, mut network) = fixture();
        network.node_address.clear();
        assert!(matches!(table(&set, &network, "n1"), Err(PlanError::NoNodeAddress(_))));
    }

    #[test]
    fn ports_and_policies_reach_the_data_plane_and_backends_have_one_order() {
        let (mut set, network) = fixture();
        let endpoint = set.endpoints.get_mut("s1/net1").unwrap();
        endpoint.backends.reverse();
        endpoint.set_lb_policy(LbPolicy::SourceHash);
        endpoint.idle_timeout = Some(prost_types::Duration { seconds: 90, nanos: 0 });
        let port = |host_ip: &str| PortConfig {
            published: 80,
            target: 8080,
            host_ip: host_ip.into(),
            local: true,
            ..PortConfig::default()
        };
        endpoint.ports = vec![port("127.0.0.1"), port("nowhere")];
        let table = table(&set, &network, "n1").unwrap();
        let service = &table.services[0];
        assert!(service.backends.is_sorted());
        assert_eq!(service.balance, Balance { policy: Policy::SourceHash, idle: Some(90) });
        let ports = ingress_ports(&set);
        assert_eq!(ports.len(), 1, "an address that cannot be read is not all addresses");
        assert_eq!((ports[0].host_ip, ports[0].local), (Some(Ipv4Addr::LOCALHOST), true));
    }
}
