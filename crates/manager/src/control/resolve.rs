//! References in a service's spec, from names to ids. Done inside the writing transaction: what is named must exist then.

use swarm_api::object::Stored;
use swarm_api::{Config, Network, Secret, ServiceSpec, name};
use swarm_raft_store::{ResolveError, View};

use super::{network, ports};
use crate::refusal::Refusal;

/// The spec with ids in place of names. Predefined node-local networks keep their names.
pub fn service(view: &View, mut spec: ServiceSpec) -> Result<ServiceSpec, Refusal> {
    networks(view, &mut spec)?;
    if let Some(container) = spec.task.as_mut().and_then(|t| t.container.as_mut()) {
        for secret in &mut container.secrets {
            let found = material::<Secret>(view, &secret.secret_id, &secret.secret_name)?;
            secret.secret_id = found.id.clone();
            found.name().clone_into(&mut secret.secret_name);
        }
        for config in &mut container.configs {
            let found = material::<Config>(view, &config.config_id, &config.config_name)?;
            config.config_id = found.id.clone();
            found.name().clone_into(&mut config.config_name);
        }
    }
    Ok(spec)
}

/// By id where one is given, else by name.
fn material<'a, T: Stored>(view: &'a View, id: &str, name: &str) -> Result<&'a T, Refusal> {
    let found = match id.is_empty() {
        false => view.resolve::<T>(id),
        true => view.resolve::<T>(name),
    };
    found.map_err(|error| match error {
        ResolveError::NotFound { reference, .. } => {
            Refusal::NotFound(format!("{} not found: {reference}", T::NOUN))
        }
        error => error.into(),
    })
}

fn networks(view: &View, spec: &mut ServiceSpec) -> Result<(), Refusal> {
    let publishes = spec.endpoint.iter().flat_map(|e| &e.ports).any(ports::is_ingress);
    if publishes && !view.all::<Network>().any(Network::is_ingress) {
        let text = "ports cannot be published in ingress mode: the swarm has no ingress network";
        return Err(Refusal::Conflict(text.into()));
    }
    let Some(task) = &mut spec.task else { return Ok(()) };
    let mut seen: Vec<String> = Vec::new();
    let mut overlays: Vec<&Network> = Vec::new();
    for attachment in &mut task.networks {
        let wanted = attachment.target.clone();
        if !name::is_node_network(&wanted) {
            let found = view.resolve::<Network>(&wanted)?;
            if found.is_ingress() {
                let text = "service cannot be explicitly attached to the ingress network";
                return Err(Refusal::Invalid(text.into()));
            }
            if let Some((other, ours, theirs)) = network::meeting(found, overlays.iter().copied()) {
                return Err(Refusal::Conflict(format!(
                    "a service cannot be on network {} and on network {}: their subnets {ours} and \
                     {theirs} overlap",
                    found.name(),
                    other.name()
                )));
            }
            overlays.push(found);
            attachment.target = found.id.clone();
        }
        if seen.contains(&attachment.target) {
            let text = format!("service is already attached to network {wanted}");
            return Err(Refusal::Invalid(text));
        }
        seen.push(attachment.target.clone());
    }
    Ok(())
}
