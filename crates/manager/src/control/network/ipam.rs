//! The subnets that users ask for: whether they are sound, grow only, and meet nobody who must not be met.
//!
//! Networks are worlds of their own, so their subnets may overlap, but not where one container would be in both: on the
//! ingress network, and on two networks of one service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use swarm_api::object::Stored;
use swarm_api::subnet::{LONGEST_SIX, overlap};
use swarm_api::{IpamConfig, Network, NetworkSpec, Service, name};
use swarm_raft_store::View;

use crate::refusal::Refusal;

/// The smallest subnet has room for a gateway, a service, a node and three tasks.
const LONGEST: u8 = 29;

/// Nodes are told apart by 16 bits of their addresses in the ingress network.
const WIDEST_INGRESS: u8 = 16;

/// Refuses subnets that cannot be right, naming the value.
pub fn check(name: &str, spec: &NetworkSpec) -> Result<(), Refusal> {
    let bad = |text: String| Refusal::Invalid(format!("network {name}: {text}"));
    let mut fours: Vec<Ipv4Net> = Vec::new();
    let mut sixes = 0;
    for config in &spec.ipam {
        if config.subnet.is_empty() {
            return Err(bad("every ip-range or gateway must have a corresponding subnet".into()));
        }
        match config.subnet.parse::<IpNet>() {
            Ok(IpNet::V4(subnet)) => {
                four(config, subnet, fours.first()).map_err(bad)?;
                if fours.iter().any(|other| overlap(other, &subnet)) {
                    let text = "multiple overlapping subnet configuration is not supported";
                    return Err(bad(text.into()));
                }
                fours.push(subnet);
            }
            Ok(IpNet::V6(subnet)) if spec.ipv6 => {
                six(config, subnet).map_err(bad)?;
                sixes += 1;
            }
            Ok(IpNet::V6(subnet)) => {
                return Err(bad(format!("subnet {subnet} needs IPv6: make it with --ipv6")));
            }
            Err(_) => return Err(bad(format!("subnet {} is not valid", config.subnet))),
        }
    }
    if spec.ingress && fours.len() > 1 {
        let text = "the ingress network has one IPv4 subnet: let it grow instead";
        return Err(bad(text.into()));
    }
    let wide = fours.iter().find(|net| spec.ingress && net.prefix_len() < WIDEST_INGRESS);
    if let Some(net) = wide {
        return Err(bad(format!("subnet {net} is too large, /{WIDEST_INGRESS} is the largest")));
    }
    match sixes {
        0 | 1 => Ok(()),
        n => Err(bad(format!("only one IPv6 subnet is supported, {n} are given"))),
    }
}

fn four(config: &IpamConfig, subnet: Ipv4Net, first: Option<&Ipv4Net>) -> Result<(), String> {
    if subnet.prefix_len() > LONGEST {
        return Err(format!("subnet {subnet} is too small, /{LONGEST} is the smallest"));
    }
    if subnet.addr() != subnet.network() {
        return Err(format!("{subnet} has host bits set, did you mean {}", subnet.trunc()));
    }
    let inside = |text: &str| text.parse::<Ipv4Addr>().is_ok_and(|a| subnet.contains(&a));
    member("gateway", &config.gateway, subnet.into(), inside)?;
    if let Some(first) = first.filter(|_| !config.gateway.is_empty()) {
        let gateway = &config.gateway;
        return Err(format!("gateway {gateway}: the network's one gateway is in subnet {first}"));
    }
    member("ip-range", &config.ip_range, subnet.into(), |text| {
        text.parse::<Ipv4Net>().is_ok_and(|range| subnet.contains(&range))
    })?;
    config.reserved.values().try_for_each(|a| member("aux-address", a, subnet.into(), inside))
}

fn six(config: &IpamConfig, subnet: Ipv6Net) -> Result<(), String> {
    if subnet.prefix_len() > LONGEST_SIX {
        return Err(format!(
            "subnet {subnet} is too small, /{LONGEST_SIX} is the smallest: an IPv6 address \
             carries the IPv4 one"
        ));
    }
    if subnet.addr() != subnet.network() {
        return Err(format!("{subnet} has host bits set, did you mean {}", subnet.trunc()));
    }
    if !config.ip_range.is_empty() {
        let range = &config.ip_range;
        return Err(format!("ip-range {range}: IPv6 addresses follow the IPv4 ones"));
    }
    let inside = |text: &str| text.parse::<Ipv6Addr>().is_ok_and(|a| subnet.contains(&a));
    member("gateway", &config.gateway, subnet.into(), inside)?;
    config.reserved.values().try_for_each(|a| member("aux-address", a, subnet.into(), inside))
}

fn member(
    what: &str,
    text: &str,
    subnet: IpNet,
    inside: impl Fn(&str) -> bool,
) -> Result<(), String> {
    match text.is_empty() || inside(text) {
        true => Ok(()),
        false => Err(format!("{what} {text} is not valid or not in {subnet}")),
    }
}

/// Refuses an update after which an address of the network would lie outside of it.
pub fn refuse_shrinking(network: &Network, wanted: &NetworkSpec) -> Result<(), Refusal> {
    let name = network.name();
    let bad = |text: String| Err(Refusal::Invalid(format!("network {name}: {text}")));
    let asked = Network { spec: Some(wanted.clone()), ..Network::default() }.asked_subnets();
    if asked.is_empty() && network.asked_subnets().is_empty() {
        return Ok(());
    }
    for had in network.subnets() {
        if !asked.iter().any(|subnet| subnet.contains(&had)) {
            return bad(format!("subnet {had} can only grow, and stays: its addresses are in use"));
        }
    }
    let kept = network.gateway.parse::<Ipv4Addr>();
    let first = asked.first();
    if let (Ok(gateway), Some(first)) = (kept, first)
        && !first.contains(&gateway)
    {
        return bad(format!("its gateway {gateway} must be in the first subnet, {first} is named"));
    }
    let gateways = wanted.ipam.iter().filter_map(|c| c.gateway.parse::<IpAddr>().ok());
    let had = [&network.gateway, &network.gateway6];
    for gateway in gateways {
        if had.iter().all(|had| had.parse() != Ok(gateway)) {
            return bad(format!("gateway {gateway} cannot take the place of {}", had[0]));
        }
    }
    let six = |spec: &NetworkSpec| spec.ipam.iter().find_map(|c| c.subnet.parse::<Ipv6Net>().ok());
    match six(wanted).is_none_or(|six| network.six() == Some(six)) {
        true => Ok(()),
        false => bad("its IPv6 subnet cannot be changed".into()),
    }
}

/// The first of `others` that has an address in common with the network, and both subnets.
pub fn meeting<'a>(
    network: &Network,
    others: impl Iterator<Item = &'a Network>,
) -> Option<(&'a Network, IpNet, IpNet)> {
    let (ours, six) = (network.claimed_subnets(), network.six());
    others.filter(|other| other.id != network.id).find_map(|other| {
        let theirs = other.claimed_subnets();
        let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| (*a, *b)));
        let four = pairs.into_iter().find(|(a, b)| overlap(a, b));
        let both = six.zip(other.six()).filter(|(a, b)| a.contains(b) || b.contains(a));
        let four = four.map(|(a, b)| (IpNet::from(a), IpNet::from(b)));
        let (a, b) = four.or_else(|| both.map(|(a, b)| (a.into(), b.into())))?;
        Some((other, a, b))
    })
}

/// The ingress network must be alone with its addresses: any service may come to be on it.
pub fn refuse_overlaps(view: &View, network: &Network) -> Result<(), Refusal> {
    let others = view.all::<Network>().filter(|o| o.is_ingress() || network.is_ingress());
    match meeting(network, others) {
        None => Ok(()),
        Some((other, ours, theirs)) => Err(Refusal::Conflict(format!(
            "subnet {ours} of network {} overlaps with subnet {theirs} of network {}",
            network.name(),
            other.name()
        ))),
    }
}

/// Refuses subnets in which a service that is on the network already has another one's.
pub fn refuse_meetings(view: &View, network: &Network) -> Result<(), Refusal> {
    for service in view.services_using_network(&network.id) {
        if let Some((other, ours, theirs)) = meeting(network, networks_of(view, service)) {
            return Err(Refusal::Conflict(format!(
                "subnet {ours} of network {} overlaps with subnet {theirs} of network {}, and \
                 service {} is on both",
                network.name(),
                other.name(),
                service.name()
            )));
        }
    }
    Ok(())
}

fn networks_of<'a>(view: &'a View, service: &'a Service) -> impl Iterator<Item = &'a Network> {
    let spec = service.spec.as_ref().and_then(|s| s.task.as_ref());
    let named = spec.map_or(&[][..], |t| &t.networks).iter().map(|n| n.target.as_str());
    named.filter(|id| !name::is_node_network(id)).filter_map(|id| view.get::<Network>(id))
}

/// What the network's maker should know: which networks no service can be on together with it.
pub fn warnings(view: &View, network: &Network) -> Vec<String> {
    let met = view.all::<Network>().filter_map(|o| meeting(network, std::iter::once(o)));
    met.map(|(other, ours, theirs)| {
        format!(
            "subnet {ours} overlaps with subnet {theirs} of network {}: no service can be on both",
            other.name()
        )
    })
    .collect()
}
