//! Commands on stacks. A stack is what carries its label: the cluster itself knows only services,
//! networks, secrets and configs.

mod config;
mod deploy;
mod ls;
mod plan;
mod ps;
mod rm;
mod same;
mod services;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use swarm_api::object::Stored;
use swarm_api::{Filters, ListServicesRequest, Service};
use swarm_compose::{NAMESPACE_LABEL, Source};

use crate::client::{Client, ask};
use crate::input;

/// What can be done with stacks.
#[derive(Subcommand, Debug)]
pub enum StackCommand {
    /// Show the compose files merged, as they are understood
    Config(config::ConfigFlags),
    /// Make or change a stack from compose files
    #[command(alias = "up")]
    Deploy(deploy::DeployFlags),
    /// List stacks
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// List the tasks of a stack
    Ps(ps::PsFlags),
    /// Remove stacks
    #[command(aliases = ["remove", "down"])]
    Rm(rm::RmFlags),
    /// List the services of a stack
    Services(services::ServicesFlags),
}

impl StackCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Config(flags) => flags.run().await,
            Self::Deploy(flags) => flags.run(client).await,
            Self::Ls(flags) => flags.run(client).await,
            Self::Ps(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
            Self::Services(flags) => flags.run(client).await,
        }
    }
}

fn check_name(stack: &str) -> Result<()> {
    let bad = stack.trim().is_empty() || stack.contains(['\'', '"']);
    if bad || swarm_api::name::service(stack).is_err() {
        bail!("invalid stack name: \"{stack}\"");
    }
    Ok(())
}

/// Filter for what belongs to a stack.
fn members(stack: &str) -> Option<Filters> {
    let labels = BTreeMap::from([(NAMESPACE_LABEL.to_owned(), stack.to_owned())]);
    Some(Filters { labels, ..Filters::default() })
}

/// The stack that an object belongs to.
fn stack_of<T: Stored>(object: &T) -> Option<&str> {
    object.labels()?.get(NAMESPACE_LABEL).map(String::as_str)
}

/// The services of a stack.
async fn services_of(client: &Client, stack: &str) -> Result<Vec<Service>> {
    let request = ListServicesRequest { filters: members(stack), modes: Vec::new() };
    let mut services = ask!(client, list_services, request)?.services;
    services.retain(|s| stack_of(s) == Some(stack));
    Ok(services)
}

/// The compose files that the flags name; `-` is stdin.
async fn sources(files: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for file in files {
        sources.push(match file.as_str() {
            "-" => {
                let text = input::read("-").await?;
                Source::Stdin(String::from_utf8(text).context("stdin is not UTF-8")?)
            }
            path => Source::File(PathBuf::from(path)),
        });
    }
    Ok(sources)
}

/// The caller's environment, for variables in compose files.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
