//! Virtual addresses and published ports of a service.

use swarm_api::{Endpoint, EndpointMode, Service, VirtualIp, name};

use super::is_overlay;
use super::pool::Pools;
use super::port::allocate_ports;
use crate::reconcile::draft::Draft;
use crate::reconcile::slot::{has_ingress_ports, ingress, template};

/// Brings the service's endpoint in line with its spec. If something cannot be had, why: its tasks wait meanwhile, and
/// what could be had is kept.
pub(in crate::reconcile) fn allocate_service(
    draft: &mut Draft<'_>,
    pools: &mut Option<Pools>,
    service_id: &str,
) -> Result<(), String> {
    let Some(mut service) = draft.service(service_id).cloned() else { return Ok(()) };
    let spec = service.spec.as_ref().and_then(|s| s.endpoint.clone()).unwrap_or_default();
    let ports = allocate_ports(draft, &service, &spec.ports);
    let wanted = match spec.mode() {
        EndpointMode::Vip => networks_of(draft, &service)?,
        EndpointMode::Dnsrr => Vec::new(),
    };
    let mut endpoint = service.endpoint.take().unwrap_or_default();
    endpoint.virtual_ips.retain(|vip| wanted.contains(&vip.network_id));
    let mut missing = None;
    for network_id in wanted {
        if endpoint.virtual_ips.iter().any(|vip| vip.network_id == network_id) {
            continue;
        }
        let pools = pools.get_or_insert_with(|| Pools::of(draft));
        match pools.take_virtual(draft, &network_id) {
            Ok(address) => endpoint.virtual_ips.push(VirtualIp { network_id, address }),
            Err(why) => missing = Some(why),
        }
    }
    let failed = ports.as_ref().err().cloned().or(missing);
    let ports = ports.unwrap_or(endpoint.ports);
    service.endpoint = Some(Endpoint { spec: Some(spec), ports, ..endpoint });
    draft.put_service(service);
    failed.map_or(Ok(()), Err)
}

/// Overlay networks of the service, with the ingress network if it publishes ports there; if one is not there, why.
pub(super) fn networks_of(draft: &Draft<'_>, service: &Service) -> Result<Vec<String>, String> {
    let mut networks = Vec::new();
    let named = template(service).map_or(&[][..], |spec| &spec.networks);
    for config in named.iter().filter(|c| !name::is_node_network(&c.target)) {
        let Some(network) = draft.network(&config.target) else {
            return Err(format!("network {} is gone", config.target));
        };
        if is_overlay(network) && !networks.contains(&network.id) {
            networks.push(network.id.clone());
        }
    }
    if has_ingress_ports(service) {
        let Some(network) = ingress(draft) else {
            return Err("the ingress network is gone, and the service publishes ports on it".into());
        };
        networks.push(network.id.clone());
    }
    Ok(networks)
}
