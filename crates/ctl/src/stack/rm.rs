//! `swarmctl stack rm`: services first, their tasks' end next, then what they used.

use std::time::Duration;

use anyhow::{Error, Result, bail};
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{
    ListConfigsRequest, ListNetworksRequest, ListSecretsRequest, ListTasksRequest,
    RemoveConfigRequest, RemoveNetworkRequest, RemoveSecretRequest, RemoveServiceRequest,
};
use tokio::time::{Instant, sleep};

use super::{check_name, members, services_of, stack_of};
use crate::client::{Client, ask};
use crate::failure::{is_not_found, join};
use crate::order::natural;
use crate::output;

/// Between two looks at the tasks that are ending.
const POLL: Duration = Duration::from_millis(100);

/// Flags of `stack rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Do not wait for the tasks to end; networks that they use stay then
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    detach: Option<bool>,
    /// Longest wait for the tasks to end
    #[arg(long, value_name = "DURATION", default_value = "1m",
          value_parser = swarm_api::duration::parse)]
    timeout: Duration,
    /// Stacks
    #[arg(value_name = "STACK", required = true)]
    stacks: Vec<String>,
}

impl RmFlags {
    /// Removes the stacks.
    pub async fn run(self, client: &Client) -> Result<()> {
        for stack in &self.stacks {
            check_name(stack)?;
        }
        let mut errors = Vec::new();
        for stack in &self.stacks {
            if let Err(error) = self.remove(client, stack).await {
                errors.push(error);
            }
        }
        join(errors)
    }

    async fn remove(&self, client: &Client, stack: &str) -> Result<()> {
        let mut errors = Vec::new();
        let mut found = false;
        let mut services = services_of(client, stack).await?;
        services.sort_by(|a, b| natural(a.spec_name(), b.spec_name()));
        for service in &services {
            output::line(format_args!("Removing service {}", service.spec_name()))?;
            let request = RemoveServiceRequest { service: service.id.clone() };
            note_error(&mut errors, ask!(client, remove_service, request));
            found = true;
        }
        let ids: Vec<String> = services.into_iter().map(|s| s.id).collect();
        if !ids.is_empty() && !self.detach.unwrap_or(false) {
            self.until_gone(client, ids).await?;
        }
        found |= remove_rest(client, stack, &mut errors).await?;
        if !found && errors.is_empty() {
            output::note(format_args!("Nothing found in stack: {stack}"));
        }
        if errors.is_empty() {
            return Ok(());
        }
        errors.insert(0, anyhow::anyhow!("failed to remove some resources from stack: {stack}"));
        join(errors)
    }

    async fn until_gone(&self, client: &Client, service_ids: Vec<String>) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        let mut said = usize::MAX;
        loop {
            let request =
                ListTasksRequest { service_ids: service_ids.clone(), ..Default::default() };
            let left = ask!(client, list_tasks, request)?.tasks;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let nodes: std::collections::BTreeSet<&str> =
                    left.iter().map(|t| t.node_id.as_str()).collect();
                bail!(
                    "{} tasks have not ended after {}, on nodes {}: are these up? run this again \
                     to remove the rest of the stack",
                    left.len(),
                    swarm_api::duration::format(self.timeout),
                    nodes.into_iter().collect::<Vec<_>>().join(", ")
                );
            }
            if left.len() < said && output::is_terminal() {
                said = left.len();
                output::line(format_args!("Waiting for {said} tasks to end"))?;
            }
            sleep(POLL).await;
        }
    }
}

/// Removes secrets, configs and networks; whether there were any.
async fn remove_rest(client: &Client, stack: &str, errors: &mut Vec<Error>) -> Result<bool> {
    let mut found = false;
    let request = ListSecretsRequest { filters: members(stack) };
    let secrets = ask!(client, list_secrets, request)?.secrets;
    for secret in secrets.iter().filter(|s| stack_of(*s) == Some(stack)) {
        output::line(format_args!("Removing secret {}", secret.name()))?;
        let request = RemoveSecretRequest { secret: secret.id.clone() };
        note_error(errors, ask!(client, remove_secret, request));
        found = true;
    }
    let request = ListConfigsRequest { filters: members(stack) };
    let configs = ask!(client, list_configs, request)?.configs;
    for config in configs.iter().filter(|c| stack_of(*c) == Some(stack)) {
        output::line(format_args!("Removing config {}", config.name()))?;
        let request = RemoveConfigRequest { config: config.id.clone() };
        note_error(errors, ask!(client, remove_config, request));
        found = true;
    }
    let request = ListNetworksRequest { filters: members(stack) };
    let networks = ask!(client, list_networks, request)?.networks;
    for network in networks.iter().filter(|n| stack_of(*n) == Some(stack)) {
        output::line(format_args!("Removing network {}", network.name()))?;
        let request = RemoveNetworkRequest { network: network.id.clone() };
        note_error(errors, ask!(client, remove_network, request));
        found = true;
    }
    Ok(found)
}

/// What is gone already needs no removing.
fn note_error<T>(errors: &mut Vec<Error>, outcome: Result<T>) {
    match outcome {
        Err(error) if !is_not_found(&error) => errors.push(error),
        _ => {}
    }
}
