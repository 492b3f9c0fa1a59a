//! Published ports: which service holds which.

use swarm_api::object::Stored;
use swarm_api::{PortConfig, PublishMode, Service, ServiceSpec, port};
use swarm_raft_store::View;

use crate::refusal::Refusal;

/// Ports that a service holds: as allocated, and as its spec asks for now.
pub fn of(service: &Service) -> impl Iterator<Item = &PortConfig> {
    let allocated = service.endpoint.iter().flat_map(|e| &e.ports);
    let asked = service.spec.iter().flat_map(asked);
    allocated.chain(asked)
}

fn asked(spec: &ServiceSpec) -> impl Iterator<Item = &PortConfig> {
    spec.endpoint.iter().flat_map(|e| &e.ports)
}

/// Whether every node publishes it.
pub fn is_ingress(port: &PortConfig) -> bool {
    port.mode() == PublishMode::Ingress
}

/// Refuses a spec that publishes what another service holds. Two services may publish one port in host mode: the scheduler
/// keeps them on different nodes.
pub fn refuse_conflicts(view: &View, id: &str, spec: &ServiceSpec) -> Result<(), Refusal> {
    let wanted: Vec<&PortConfig> = asked(spec).filter(|p| p.published != 0).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let name = spec.annotations.as_ref().map_or("", |a| &a.name);
    for other in view.all::<Service>().filter(|s| s.id != id) {
        for held in of(other) {
            if let Some(port) = wanted.iter().find(|p| clash(p, held)) {
                let how = match is_ingress(held) {
                    true => "an ingress port",
                    false => "a host-published port",
                };
                return Err(Refusal::Conflict(format!(
                    "port '{}' of service '{name}' is already in use by service '{}' ({}) as {how}",
                    port.published,
                    other.name(),
                    other.id
                )));
            }
        }
    }
    Ok(())
}

fn clash(wanted: &PortConfig, held: &PortConfig) -> bool {
    port::meet(wanted, held) && (is_ingress(wanted) || is_ingress(held))
}
