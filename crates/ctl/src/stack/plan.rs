//! What a deploy will do: a pure comparison of a compose file's stack with what the cluster has.
//! Everything that can be refused is refused here, before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result, anyhow};
use swarm_api::object::Stored;
use swarm_api::{Config, Network, Secret, Service, ServiceSpec, UpdateState, name};
use swarm_compose::{Stack, StackConfig, StackNetwork, StackSecret};

use super::same::{Ids, is_same};
use super::stack_of;
use crate::failure::join;

/// What the cluster has.
#[derive(Debug, Default)]
pub struct Existing {
    /// All networks.
    pub networks: Vec<Network>,
    /// All secrets, without data.
    pub secrets: Vec<Secret>,
    /// All configs, with data.
    pub configs: Vec<Config>,
    /// All services.
    pub services: Vec<Service>,
}

/// What to do with the networks, secrets and configs, and which services to remove.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Services of the stack that the file no longer has, if they are to go.
    pub prune: Vec<&'a Service>,
    /// Networks to make.
    pub networks: Vec<&'a StackNetwork>,
    /// Secrets to make.
    pub secrets: Vec<&'a StackSecret>,
    /// Secrets that exist: their labels are written, and the manager refuses other data.
    pub known_secrets: Vec<(&'a StackSecret, &'a Secret)>,
    /// Configs to make.
    pub configs: Vec<&'a StackConfig>,
    /// Configs that exist with other labels.
    pub known_configs: Vec<(&'a StackConfig, &'a Config)>,
}

fn named<'a, T: Stored>(objects: &'a [T], name: &str) -> Option<&'a T> {
    objects.iter().find(|o| o.name() == name)
}

/// Compares; fails with everything that stands in the way.
pub fn make<'a>(stack: &'a Stack, existing: &'a Existing, prune: bool) -> Result<Plan<'a>> {
    let mut plan = Plan::default();
    let mut errors = Vec::new();
    networks(stack, existing, &mut plan, &mut errors);
    secrets(stack, existing, &mut plan, &mut errors);
    configs(stack, existing, &mut plan, &mut errors);
    let wanted: BTreeSet<&str> = stack.services.iter().map(|s| name_of(&s.spec)).collect();
    for name in &wanted {
        if let Some(service) = named(&existing.services, name)
            && stack_of(service) != Some(&stack.name)
        {
            errors.push(anyhow!(
                "service {name} exists and does not belong to stack {}: remove it, or choose \
                 another stack name",
                stack.name
            ));
        }
    }
    if prune {
        let own = existing.services.iter().filter(|s| stack_of(*s) == Some(&stack.name));
        plan.prune = own.filter(|s| !wanted.contains(s.spec_name())).collect();
    }
    join(errors)?;
    Ok(plan)
}

fn networks<'a>(
    stack: &'a Stack,
    existing: &Existing,
    plan: &mut Plan<'a>,
    errors: &mut Vec<Error>,
) {
    for network in &stack.networks {
        let known = named(&existing.networks, &network.name).is_some();
        if !network.external && !known {
            plan.networks.push(network);
        } else if network.external && !known && !name::is_node_network(&network.name) {
            errors.push(anyhow!(
                "network \"{0}\" is declared as external, but could not be found: make it with \
                 'swarmctl network create {0}' before the stack is deployed",
                network.name
            ));
        }
    }
}

fn secrets<'a>(
    stack: &'a Stack,
    existing: &'a Existing,
    plan: &mut Plan<'a>,
    errors: &mut Vec<Error>,
) {
    for secret in &stack.secrets {
        match named(&existing.secrets, &secret.name) {
            Some(_) if secret.external => {}
            Some(known) => plan.known_secrets.push((secret, known)),
            None if secret.external => errors.push(missing("secret", &secret.name)),
            None => plan.secrets.push(secret),
        }
    }
}

fn configs<'a>(
    stack: &'a Stack,
    existing: &'a Existing,
    plan: &mut Plan<'a>,
    errors: &mut Vec<Error>,
) {
    for config in &stack.configs {
        match named(&existing.configs, &config.name) {
            Some(_) if config.external => {}
            Some(known) => {
                let stored = known.spec.clone().unwrap_or_default();
                if stored.data != config.spec.data {
                    errors.push(changed_data("config", &config.key, &config.name));
                } else if stored.annotations != config.spec.annotations {
                    plan.known_configs.push((config, known));
                }
            }
            None if config.external => errors.push(missing("config", &config.name)),
            None => plan.configs.push(config),
        }
    }
}

fn missing(kind: &str, name: &str) -> Error {
    anyhow!(
        "{kind} not found: {name}: it is declared as external; make it with 'swarmctl {kind} \
         create {name} FILE' before the stack is deployed"
    )
}

/// Data of a secret or config never changes; services move to another one.
pub fn changed_data(kind: &str, key: &str, name: &str) -> Error {
    anyhow!(
        "{kind} {name} exists with other data, and the data of a {kind} cannot change: give it a \
         new name in the file, as in {kind}s.{key}.name: {name}_2"
    )
}

fn name_of(spec: &ServiceSpec) -> &str {
    spec.annotations.as_ref().map_or("", |a| a.name.as_str())
}

/// Ids by name, of everything the cluster has.
pub fn ids(existing: &Existing) -> Ids {
    fn by_name<T: Stored>(objects: &[T]) -> BTreeMap<String, String> {
        objects.iter().map(|o| (o.name().to_owned(), o.id().to_owned())).collect()
    }
    Ids {
        networks: by_name(&existing.networks),
        secrets: by_name(&existing.secrets),
        configs: by_name(&existing.configs),
    }
}

/// What to do with one service.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// It is not there.
    Create,
    /// It is there, but otherwise.
    Update(&'a Service),
    /// It is there as wanted.
    Keep(&'a Service),
}

/// Decides about one service. Forced replacements of the past stay counted, or its tasks would be
/// replaced now.
pub fn service<'a>(wanted: &mut ServiceSpec, existing: &'a Existing, ids: &Ids) -> Action<'a> {
    let Some(stored) = named(&existing.services, name_of(wanted)) else { return Action::Create };
    let spec = stored.spec.clone().unwrap_or_default();
    if let (Some(wanted), Some(stored)) = (&mut wanted.task, &spec.task) {
        wanted.force_update = stored.force_update;
    }
    // A paused update goes on only when its spec is written anew.
    let paused = stored.update_status.as_ref().is_some_and(|s| {
        matches!(s.state(), UpdateState::UpdatePaused | UpdateState::RollbackPaused)
    });
    match is_same(&spec, wanted, ids) && !paused {
        true => Action::Keep(stored),
        false => Action::Update(stored),
    }
}

#[cfg(test)]
mod tests;
