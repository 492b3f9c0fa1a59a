//! A network as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use swarm_api::object::Stored;
use swarm_api::{Network, Node, Service, Task, subnet};

use super::{Doc, list, map, spec};
use crate::age::rfc3339;

/// Bytes that VXLAN over IPv4 adds to a packet.
const OVERHEAD: u32 = 50;

/// `network inspect`.
pub fn network(network: &Network) -> Value {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let created = network.meta.as_ref().and_then(|m| m.created_at.as_ref());
    Doc::default()
        .set("Name", annotations.name)
        .set("Id", network.id.as_str())
        .set("Created", rfc3339(created))
        .set("Scope", "swarm")
        .set("Driver", spec.driver)
        .set("EnableIPv4", true)
        .set("EnableIPv6", spec.ipv6)
        .set("IPAM", json!({"Driver": "default", "Config": ipam(network)}))
        .set("Internal", spec.internal)
        .set("Attachable", spec.attachable)
        .set("Ingress", spec.ingress)
        // No network's traffic is encrypted yet, whatever was asked for.
        .set("Encrypted", false)
        .set("VNI", network.vni)
        .set("Options", map(&spec.driver_opts))
        .set("Labels", map(&annotations.labels))
        .build()
}

/// Every subnet that the network has, with what was asked for it.
fn ipam(network: &Network) -> Value {
    let asked = network.spec.as_ref().map_or(&[][..], |s| &s.ipam);
    let mut all = vec![(network.subnet.as_str(), network.gateway.as_str())];
    all.extend(network.more_subnets.iter().map(|subnet| (subnet.as_str(), "")));
    all.push((network.subnet6.as_str(), network.gateway6.as_str()));
    let shown = all.into_iter().filter(|(subnet, _)| !subnet.is_empty());
    let shown = shown.map(|(subnet, gateway)| {
        let config = asked.iter().find(|c| c.subnet == subnet).cloned().unwrap_or_default();
        Doc::default()
            .set("Subnet", subnet)
            .opt("IPRange", config.ip_range)
            .opt("Gateway", gateway)
            .opt("AuxiliaryAddresses", map(&config.reserved))
            .build()
    });
    shown.collect::<Vec<_>>().into()
}

/// All that is in the network.
pub struct Members<'a> {
    /// All nodes.
    pub nodes: &'a [Node],
    /// All services.
    pub services: &'a [Service],
    /// All tasks.
    pub tasks: &'a [Task],
}

/// `network inspect --verbose`: with the nodes and services in it.
pub fn verbose(network: &Network, members: &Members<'_>) -> Value {
    let mut shown = self::network(network);
    if let Value::Object(fields) = &mut shown {
        fields.insert("Peers".into(), peers(network, members.nodes));
        fields.insert("MTU".into(), mtu(network, members.nodes));
        fields.insert("Services".into(), services(network, members));
    }
    shown
}

fn peers(network: &Network, nodes: &[Node]) -> Value {
    let mut peers = Vec::new();
    for node in nodes {
        let attachment = node.attachments.iter().find(|a| a.network_id == network.id);
        let Some(attachment) = attachment else { continue };
        let description = node.description.clone().unwrap_or_default();
        peers.push(
            Doc::default()
                .set("Name", node.hostname())
                .set("ID", node.id.as_str())
                .set("IP", description.data_path_addr)
                .set("Address", attachment.address.as_str())
                .opt("Address6", six(network, &attachment.address))
                .opt("MTU", description.data_path_mtu)
                .build(),
        );
    }
    peers.into()
}

/// What the underlays of the network's nodes leave for containers. A route that carries less than the link it leaves by is
/// the node's own knowledge, and not in it.
fn mtu(network: &Network, nodes: &[Node]) -> Value {
    let asked = network.spec.as_ref().map(|s| &s.driver_opts);
    let asked = asked.and_then(|o| o.get("mtu").or_else(|| o.get("com.docker.network.driver.mtu")));
    let inside = |node: &&Node| node.attachments.iter().any(|a| a.network_id == network.id);
    let told = nodes.iter().filter(inside).filter_map(|node| {
        let mtu = node.description.as_ref()?.data_path_mtu;
        (mtu > 0).then(|| (mtu, node.hostname()))
    });
    let doc = Doc::default().opt("Asked", asked.map_or("", String::as_str));
    let Some((underlay, host)) = told.min() else { return doc.build() };
    let most = underlay.saturating_sub(OVERHEAD);
    let container = asked.and_then(|text| text.parse().ok()).unwrap_or(most);
    doc.set("Underlay", underlay)
        .set("NarrowestNode", host)
        .set("Overhead", OVERHEAD)
        .set("Container", container)
        .set(
            "Arithmetic",
            format!(
                "underlay {underlay} ({host}) - VXLAN {OVERHEAD} = {most} -> overlay {container}"
            ),
        )
        .build()
}

fn services(network: &Network, members: &Members<'_>) -> Value {
    let mut shown = Map::new();
    let hosts: BTreeMap<&str, &Node> = members.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    for service in members.services {
        let endpoint = service.endpoint.clone().unwrap_or_default();
        let vip = endpoint.virtual_ips.iter().find(|v| v.network_id == network.id);
        let vip = vip.map_or("", |v| v.address.as_str());
        let of = |task: &&Task| task.service_id == service.id && !task.is_terminal();
        let tasks: Vec<Value> = members
            .tasks
            .iter()
            .filter(of)
            .filter_map(|task| one(network, task, hosts.get(task.node_id.as_str()).copied()))
            .collect();
        if vip.is_empty() && tasks.is_empty() {
            continue;
        }
        let ports = if is_ingress(network) { &endpoint.ports[..] } else { &[] };
        let fields = Doc::default()
            .set("VIP", vip)
            .opt("VIP6", six(network, vip))
            .set("Ports", list(ports, spec::port))
            .set("Tasks", tasks)
            .build();
        shown.insert(service.name().to_owned(), fields);
    }
    shown.into()
}

fn one(network: &Network, task: &Task, node: Option<&Node>) -> Option<Value> {
    let attachment = task.networks.iter().find(|a| a.network_id == network.id)?;
    let address = node.and_then(|n| n.description.as_ref()).map_or("", |d| &d.data_path_addr);
    let shown = Doc::default()
        .set("Name", task.full_name())
        .set("EndpointIP", attachment.address.as_str())
        .opt("EndpointIP6", six(network, &attachment.address))
        .set("Node", node.map_or("", Node::hostname))
        .set("State", task.state().as_str_name().to_lowercase())
        .set("Info", json!({"Host IP": address}));
    Some(shown.build())
}

fn is_ingress(network: &Network) -> bool {
    network.spec.as_ref().is_some_and(|s| s.ingress)
}

/// The IPv6 address that goes with an IPv4 one; empty where there is none.
fn six(network: &Network, address: &str) -> String {
    let both = network.six().zip(address.parse().ok());
    both.map_or_else(String::new, |(net, address)| subnet::six(net, address).to_string())
}

#[cfg(test)]
mod tests {
    use swarm_api::{NodeAttachment, NodeDescription, VirtualIp};

    use super::*;

    #[test]
    fn the_members_of_a_network_are_shown_with_their_addresses() {
        let net = Network {
            id: "n1".into(),
            subnet: "10.0.1.0/24".into(),
            gateway: "10.0.1.1".into(),
            subnet6: "fd00::/64".into(),
            ..Network::default()
        };
        let attached = NodeAttachment { network_id: "n1".into(), address: "10.0.1.9".into() };
        let description = NodeDescription { data_path_mtu: 1400, ..NodeDescription::default() };
        let node = Node {
            id: "a".into(),
            attachments: vec![attached],
            description: Some(description),
            ..Node::default()
        };
        let mut service = Service { id: "s".into(), ..Service::default() };
        let vip = VirtualIp { network_id: "n1".into(), address: "10.0.1.254".into() };
        service.endpoint.get_or_insert_default().virtual_ips.push(vip);
        let elsewhere = Node { id: "b".into(), ..Node::default() };
        let shown =
            verbose(&net, &Members { nodes: &[node, elsewhere], services: &[service], tasks: &[] });
        assert_eq!(shown["Peers"].as_array().unwrap().len(), 1);
        assert_eq!(shown["Peers"][0]["Address6"], "fd00::a00:109");
        assert_eq!(
            shown["MTU"]["Arithmetic"],
            "underlay 1400 (a) - VXLAN 50 = 1350 -> overlay 1350"
        );
        assert_eq!(shown["Services"][""]["VIP"], "10.0.1.254");
        assert_eq!(shown["IPAM"]["Config"].as_array().unwrap().len(), 2);
    }
}
