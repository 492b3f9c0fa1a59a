//! What a name means to a container, given the zones of its networks in order. Pure: order of the
//! addresses is the zone's, shuffling is the caller's.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};

use crate::zone::Zone;

/// The meaning of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Addresses of the asked family, at least one.
    Addresses(Vec<IpAddr>),
    /// The name of an address, as `<name>.<network>`.
    Pointer(String),
    /// The name is ours but has nothing of the asked type: NOERROR with no records. Never
    /// forwarded, or an IPv4-only service would be looked for on the internet by every AAAA query.
    Empty,
    /// Not ours: to be forwarded.
    Unknown,
}

/// Looks up `name` (any case, final dot optional).
///
/// The whole name is tried in every zone first; then `a.b` of `a.b.c` in the network called `c`,
/// then `a` in the network called `b.c`, so that `<name>.<network>` works for networks and names
/// with dots.
pub fn lookup(zones: &[Arc<Zone>], name: &str, kind: RecordType) -> Answer {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if kind == RecordType::PTR {
        return pointer(zones, &name);
    }
    match find(zones, &name) {
        None => Answer::Unknown,
        Some(addresses) => {
            let wanted: Vec<IpAddr> =
                addresses.iter().copied().filter(|a| is_of(kind, *a)).collect();
            if wanted.is_empty() { Answer::Empty } else { Answer::Addresses(wanted) }
        }
    }
}

fn find<'z>(zones: &'z [Arc<Zone>], name: &str) -> Option<&'z [IpAddr]> {
    if let Some(found) = zones.iter().find_map(|zone| zone.addresses(name)) {
        return Some(found);
    }
    name.rmatch_indices('.').find_map(|(dot, _)| {
        let (host, network) = (&name[..dot], &name[dot + 1..]);
        zones.iter().filter(|zone| zone.network() == network).find_map(|zone| zone.addresses(host))
    })
}

fn is_of(kind: RecordType, address: IpAddr) -> bool {
    match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    }
}

fn pointer(zones: &[Arc<Zone>], name: &str) -> Answer {
    let Some(address) = arpa_address(name) else { return Answer::Unknown };
    zones
        .iter()
        .find_map(|zone| Some(format!("{}.{}", zone.name_of(address)?, zone.network())))
        .map_or(Answer::Unknown, Answer::Pointer)
}

/// The address of a complete `….in-addr.arpa` or `….ip6.arpa` name.
fn arpa_address(name: &str) -> Option<IpAddr> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn zones() -> Vec<Arc<Zone>> {
        let mut front = Zone::new("Shop_Front");
        front.insert("web", ip("10.0.1.2"));
        front.insert("tasks.web", ip("10.0.1.3"));
        front.insert("tasks.web", ip("10.0.1.4"));
        front.insert_reverse(ip("10.0.1.3"), "web.1.abc");
        front.declare("soon");
        let mut back = Zone::new("back.eu");
        back.insert("db", ip("10.0.2.2"));
        back.insert("web", ip("10.0.2.9"));
        back.insert("six", ip("fd00::6"));
        vec![Arc::new(front), Arc::new(back)]
    }

    fn addresses(list: &[&str]) -> Answer {
        Answer::Addresses(list.iter().map(|a| ip(a)).collect())
    }

    #[test]
    fn a_name_is_found_whatever_its_case_and_final_dot() {
        for name in ["web", "WEB", "Web."] {
            assert_eq!(lookup(&zones(), name, RecordType::A), addresses(&["10.0.1.2"]), "{name}");
        }
    }

    #[test]
    fn the_first_network_that_knows_a_name_answers_it() {
        assert_eq!(lookup(&zones(), "web", RecordType::A), addresses(&["10.0.1.2"]));
        let turned: Vec<_> = zones().into_iter().rev().collect();
        assert_eq!(lookup(&turned, "web", RecordType::A), addresses(&["10.0.2.9"]));
    }

    #[test]
    fn a_name_qualified_by_its_network_is_looked_up_in_that_network_only() {
        let zones = zones();
        assert_eq!(lookup(&zones, "web.back.eu", RecordType::A), addresses(&["10.0.2.9"]));
        assert_eq!(lookup(&zones, "web.shop_front", RecordType::A), addresses(&["10.0.1.2"]));
        assert_eq!(
            lookup(&zones, "tasks.web.SHOP_front", RecordType::A),
            addresses(&["10.0.1.3", "10.0.1.4"])
        );
        assert_eq!(lookup(&zones, "db.shop_front", RecordType::A), Answer::Unknown);
        assert_eq!(lookup(&zones, "web.other", RecordType::A), Answer::Unknown);
    }

    #[test]
    fn a_known_name_without_the_asked_type_is_empty_not_unknown() {
        let zones = zones();
        assert_eq!(lookup(&zones, "web", RecordType::AAAA), Answer::Empty);
        assert_eq!(lookup(&zones, "web", RecordType::MX), Answer::Empty);
        assert_eq!(lookup(&zones, "six", RecordType::A), Answer::Empty);
        assert_eq!(lookup(&zones, "six", RecordType::AAAA), addresses(&["fd00::6"]));
        assert_eq!(lookup(&zones, "soon", RecordType::A), Answer::Empty);
    }

    #[test]
    fn an_address_points_back_to_its_task_and_network() {
        assert_eq!(
            lookup(&zones(), "3.1.0.10.in-addr.arpa.", RecordType::PTR),
            Answer::Pointer("web.1.abc.shop_front".into())
        );
        for name in ["9.9.9.9.in-addr.arpa", "1.0.10.in-addr.arpa", "web"] {
            assert_eq!(lookup(&zones(), name, RecordType::PTR), Answer::Unknown, "{name}");
        }
    }
}
