//! Published ports of the routing mesh: one number per protocol in the whole cluster.

use std::collections::BTreeSet;

use swarm_api::port::meet;
use swarm_api::{PortConfig, PublishMode, Service};

use crate::reconcile::draft::Draft;

/// From where ports are chosen for those who name none.
const DYNAMIC: std::ops::RangeInclusive<u32> = 30000..=32767;

/// The service's ports with numbers for all ingress ones: chosen numbers are kept as long as the port stays the same.
/// If none is free, or another service has what was asked for, why. The door refuses the latter, so it comes up only
/// where ports changed hands behind it.
pub(super) fn allocate_ports(
    draft: &Draft<'_>,
    service: &Service,
    asked: &[PortConfig],
) -> Result<Vec<PortConfig>, String> {
    let had = service.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
    let mut ports = asked.to_vec();
    if !ports.iter().any(|p| p.mode() == PublishMode::Ingress) {
        return Ok(ports);
    }
    for port in ports.iter().filter(|p| p.mode() == PublishMode::Ingress && p.published != 0) {
        if let Some(owner) = others(draft, service).find(|other| has(other, port)) {
            return Err(taken(port, owner));
        }
    }
    let mut used = used_by_others(draft, service);
    used.extend(ports.iter().filter(|p| p.published != 0).map(key));
    let chosen = |p: &&mut PortConfig| p.mode() == PublishMode::Ingress && p.published == 0;
    for port in ports.iter_mut().filter(chosen) {
        let kept = had.iter().find(|h| is_same(h, port) && !used.contains(&key(h)));
        let free = || DYNAMIC.clone().find(|n| !used.contains(&(port.protocol, *n)));
        let number = kept.map(|h| h.published).or_else(free);
        port.published = number.ok_or_else(|| {
            format!(
                "no port is free from {} to {}: publish with a number of your own",
                DYNAMIC.start(),
                DYNAMIC.end()
            )
        })?;
        used.insert(key(port));
    }
    Ok(ports)
}

fn taken(port: &PortConfig, owner: &Service) -> String {
    let (number, name) = (port.published, owner.spec_name());
    format!("port {number} is published by service {name} already: publish another one")
}

fn key(port: &PortConfig) -> (i32, u32) {
    (port.protocol, port.published)
}

fn is_same(had: &PortConfig, asked: &PortConfig) -> bool {
    had.published != 0
        && (&had.name, had.protocol, had.target, had.mode, &had.host_ip)
            == (&asked.name, asked.protocol, asked.target, asked.mode, &asked.host_ip)
}

fn others<'a>(draft: &'a Draft<'_>, service: &Service) -> impl Iterator<Item = &'a Service> {
    draft.all_services().filter(|other| other.id != service.id)
}

/// Whether the port was allocated to this service.
fn has(service: &Service, port: &PortConfig) -> bool {
    let ports = service.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
    ports.iter().any(|held| held.mode() == PublishMode::Ingress && meet(held, port))
}

/// Both what others have and what they ask for: a number asked for at the door is theirs before it is allocated.
fn used_by_others(draft: &Draft<'_>, service: &Service) -> BTreeSet<(i32, u32)> {
    others(draft, service)
        .flat_map(|other| {
            let asked = other.spec.as_ref().and_then(|s| s.endpoint.as_ref());
            let has = other.endpoint.as_ref();
            asked.map_or(&[][..], |e| &e.ports).iter().chain(has.map_or(&[][..], |e| &e.ports))
        })
        .filter(|p| p.mode() == PublishMode::Ingress && p.published != 0)
        .map(key)
        .collect()
}
