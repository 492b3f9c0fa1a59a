//! What connects a service: its networks, by what can be said without looking at them.

use swarm_api::{EndpointSpec, NetworkAttachmentConfig};

use crate::control::ports;
use crate::refusal::Refusal;

/// A task on one of these shares or lacks a network, and can be in no other.
const EXCLUSIVE: [&str; 2] = ["host", "none"];

pub fn check(
    networks: &[NetworkAttachmentConfig],
    endpoint: Option<&EndpointSpec>,
) -> Result<(), Refusal> {
    for network in networks {
        let name = &network.target;
        if let Some((key, value)) = network.driver_opts.first_key_value() {
            return Err(Refusal::NotBuilt(format!(
                "network {name}: driver option {key}={value} of a service's network is not built \
                 yet"
            )));
        }
        if !EXCLUSIVE.contains(&name.as_str()) {
            continue;
        }
        if let Some(other) = networks.iter().find(|other| other.target != *name) {
            return Err(Refusal::Invalid(format!(
                "network {name} cannot be combined with network {}: attach to one of them",
                other.target
            )));
        }
        if endpoint.iter().flat_map(|e| &e.ports).any(ports::is_ingress) {
            return Err(Refusal::Invalid(format!(
                "a service on network {name} cannot publish ports in ingress mode: its tasks are \
                 in no network of the swarm; use mode=host or another network"
            )));
        }
    }
    Ok(())
}
