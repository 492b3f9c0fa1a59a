//! `swarmctl stack deploy`: what the files say is made, changed or left alone, and waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use swarm_api::object::Stored;
use swarm_api::{
    CreateConfigRequest, CreateNetworkRequest, CreateSecretRequest, CreateServiceRequest,
    ListConfigsRequest, ListNetworksRequest, ListSecretsRequest, ListServicesRequest,
    RemoveServiceRequest, ServiceSpec, UpdateConfigRequest, UpdateSecretRequest,
};
use swarm_compose::IMAGE_LABEL;
use tonic::Code;

use super::plan::{self, Action, Existing, Plan};
use super::{check_name, environment, sources};
use crate::client::{Client, ask};
use crate::failure::{Refused, refuse};
use crate::progress::{self, Goal, WaitOptions};
use crate::service::image::{self, Pinned, image_of};
use crate::service::{edit, say_warnings};
use crate::{labels, output};

/// A slot that failed so often will most likely go on failing.
const MAX_FAILURES: usize = 3;

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum ResolveImage {
    /// At every deploy
    Always,
    /// When the file names another image than before
    Changed,
    /// Not at all
    Never,
}

/// Flags of `stack deploy`.
#[derive(Args, Debug)]
pub struct DeployFlags {
    /// Compose file; "-" is stdin; repeatable, later ones add to earlier ones
    #[arg(short, long, value_name = "FILE|-", required = true)]
    compose_file: Vec<String>,
    /// Remove services of the stack that the files do not have
    #[arg(long)]
    prune: bool,
    /// When to look up the digest of an image
    #[arg(long, value_enum, default_value = "always")]
    resolve_image: ResolveImage,
    /// Do not wait until the services run
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    detach: Option<bool>,
    /// Longest wait for the services to run; 0s is no limit
    #[arg(long, value_name = "DURATION", default_value = "5m",
          value_parser = swarm_api::duration::parse)]
    timeout: Duration,
    /// Wait without showing progress
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, hide = true)]
    with_registry_auth: bool,
    /// Stack
    #[arg(value_name = "STACK")]
    stack: String,
}

impl DeployFlags {
    /// Deploys the stack.
    pub async fn run(self, client: &Client) -> Result<()> {
        refuse("--with-registry-auth", self.with_registry_auth)?;
        check_name(&self.stack)?;
        let sources = sources(&self.compose_file).await?;
        let stack = swarm_compose::load(&sources, &environment(), &self.stack)?;
        say_warnings(&stack.warnings);
        let existing = existing(client).await?;
        let plan = plan::make(&stack, &existing, self.prune)?;
        // First what may still be refused.
        for (secret, known) in &plan.known_secrets {
            update_secret(client, secret, known).await?;
        }
        let mut specs: Vec<ServiceSpec> = stack.services.iter().map(|s| s.spec.clone()).collect();
        Images { client, mode: self.resolve_image, found: BTreeMap::new() }
            .pin_all(&mut specs, &existing)
            .await;
        prune(client, &plan).await?;
        create_parts(client, &plan).await?;
        let goals = self.services(client, specs, &existing).await?;
        if self.detach.unwrap_or(false) || goals.is_empty() {
            return Ok(());
        }
        let options = WaitOptions {
            quiet: self.quiet,
            timeout: (!self.timeout.is_zero()).then_some(self.timeout),
            max_failures: Some(MAX_FAILURES),
        };
        progress::wait(client, goals, options).await
    }

    async fn services(
        &self,
        client: &Client,
        specs: Vec<ServiceSpec>,
        before: &Existing,
    ) -> Result<Vec<Goal>> {
        // Anew: the stack's own networks, secrets and configs have ids by now.
        let ids = plan::ids(&existing(client).await?);
        let mut goals = Vec::new();
        for mut spec in specs {
            let name = spec.annotations.clone().unwrap_or_default().name;
            let goal = match plan::service(&mut spec, before, &ids) {
                Action::Create => {
                    output::line(format_args!("Creating service {name}"))?;
                    let request_id = swarm_api::id::random_id();
                    let request = CreateServiceRequest { spec: Some(spec), request_id };
                    let made = ask!(client, create_service, request)?;
                    say_warnings(&made.warnings);
                    Goal::converge(&made.service.unwrap_or_default().id, &name)
                }
                Action::Update(stored) => {
                    output::line(format_args!("Updating service {name} (id: {})", stored.id))?;
                    let wanted = |target: &mut ServiceSpec| {
                        target.clone_from(&spec);
                        Ok(())
                    };
                    say_warnings(&edit(client, &stored.id, wanted).await?.warnings);
                    Goal::converge(&stored.id, &name)
                }
                Action::Keep(stored) => {
                    output::line(format_args!("Service {name} is unchanged"))?;
                    Goal::be_there(&stored.id, &name)
                }
            };
            goals.push(goal);
        }
        Ok(goals)
    }
}

async fn existing(client: &Client) -> Result<Existing> {
    Ok(Existing {
        networks: ask!(client, list_networks, ListNetworksRequest::default())?.networks,
        secrets: ask!(client, list_secrets, ListSecretsRequest::default())?.secrets,
        configs: ask!(client, list_configs, ListConfigsRequest::default())?.configs,
        services: ask!(client, list_services, ListServicesRequest::default())?.services,
    })
}

/// Writes the labels. The manager compares the data, which it never gives out.
async fn update_secret(
    client: &Client,
    secret: &swarm_compose::StackSecret,
    known: &swarm_api::Secret,
) -> Result<()> {
    let request = UpdateSecretRequest {
        secret_id: known.id.clone(),
        version: known.meta.as_ref().and_then(|m| m.version),
        spec: Some(secret.spec.clone()),
    };
    match ask!(client, update_secret, request) {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<Refused>().map(|r| r.code) {
            Some(Code::InvalidArgument) => {
                Err(plan::changed_data("secret", &secret.key, &secret.name))
            }
            _ => Err(error),
        },
    }
}

async fn prune(client: &Client, plan: &Plan<'_>) -> Result<()> {
    for service in &plan.prune {
        output::line(format_args!("Removing service {}", service.spec_name()))?;
        let request = RemoveServiceRequest { service: service.id.clone() };
        ask!(client, remove_service, request)?;
    }
    Ok(())
}

async fn create_parts(client: &Client, plan: &Plan<'_>) -> Result<()> {
    for network in &plan.networks {
        output::line(format_args!("Creating network {}", network.name))?;
        let request_id = swarm_api::id::random_id();
        let request = CreateNetworkRequest { spec: Some(network.spec.clone()), request_id };
        ask!(client, create_network, request)?;
    }
    for secret in &plan.secrets {
        output::line(format_args!("Creating secret {}", secret.name))?;
        let request_id = swarm_api::id::random_id();
        let request = CreateSecretRequest { spec: Some(secret.spec.clone()), request_id };
        ask!(client, create_secret, request)?;
    }
    for config in &plan.configs {
        output::line(format_args!("Creating config {}", config.name))?;
        let request_id = swarm_api::id::random_id();
        let request = CreateConfigRequest { spec: Some(config.spec.clone()), request_id };
        ask!(client, create_config, request)?;
    }
    for (config, known) in &plan.known_configs {
        output::line(format_args!(
            "Updating labels of config {} ({})",
            config.name,
            labels::joined(config.spec.annotations.as_ref().map(|a| &a.labels))
        ))?;
        let request = UpdateConfigRequest {
            config_id: known.id.clone(),
            version: known.meta.as_ref().and_then(|m| m.version),
            spec: Some(config.spec.clone()),
        };
        ask!(client, update_config, request)?;
    }
    Ok(())
}

/// Digests of the stack's images.
struct Images<'a> {
    client: &'a Client,
    mode: ResolveImage,
    /// Already looked up, by name.
    found: BTreeMap<String, Option<Pinned>>,
}

impl Images<'_> {
    async fn pin_all(&mut self, specs: &mut [ServiceSpec], existing: &Existing) {
        for spec in specs {
            let before = unchanged_image(spec, existing);
            self.pin(spec, before).await;
        }
    }

    /// `before`: the digest that the service has, if its file still names the same image. A
    /// registry that cannot be reached is no reason to replace what runs.
    async fn pin(&mut self, spec: &mut ServiceSpec, before: Option<Pinned>) {
        let look = match self.mode {
            ResolveImage::Always => true,
            ResolveImage::Changed => before.is_none(),
            ResolveImage::Never => false,
        };
        let image = image_of(spec).clone();
        let found = if look { self.look_up(&image).await } else { None };
        match found.or(before) {
            Some(pinned) => pinned.write(spec),
            None => {
                if look {
                    image::warn(&image);
                }
                image::tag(spec);
            }
        }
    }

    async fn look_up(&mut self, image: &str) -> Option<Pinned> {
        if let Some(known) = self.found.get(image) {
            return known.clone();
        }
        let found = image::look_up(self.client, image).await;
        self.found.insert(image.to_owned(), found.clone());
        found
    }
}

/// The stored image of the service, if the file names the same one as when it was stored.
fn unchanged_image(spec: &ServiceSpec, existing: &Existing) -> Option<Pinned> {
    let wanted = spec.annotations.as_ref()?;
    let stored = existing.services.iter().find(|s| s.spec_name() == wanted.name)?;
    let same = stored.labels()?.get(IMAGE_LABEL)? == wanted.labels.get(IMAGE_LABEL)?;
    same.then(|| Pinned::of(stored.spec.as_ref()?)).flatten()
}
