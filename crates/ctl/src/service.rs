//! Commands on services.

mod create;
mod flags;
pub mod image;
mod inspect;
mod logs;
mod ls;
mod name;
mod ps;
mod rm;
mod rollback;
mod scale;
mod update;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use swarm_api::{GetServiceRequest, Service, ServiceSpec, UpdateServiceRequest};

use crate::client::{Client, ask};
use crate::failure::is_stale;
use crate::output;

pub use ls::print as list;

/// Attempts against others (or the cluster itself) who change the same service meanwhile.
const EDITS: usize = 8;

/// What can be done with services.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Make a service
    Create(Box<create::CreateFlags>),
    /// Show services in detail
    Inspect(inspect::InspectFlags),
    /// Show what a service or task wrote
    Logs(logs::LogsFlags),
    /// List services
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// List the tasks of services
    Ps(ps::PsFlags),
    /// Remove services
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
    /// Go back to the spec before the last update
    Rollback(rollback::RollbackFlags),
    /// Change the number of tasks
    Scale(scale::ScaleFlags),
    /// Change a service
    Update(Box<update::UpdateFlags>),
}

impl ServiceCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Create(flags) => flags.run(client).await,
            Self::Inspect(flags) => flags.run(client).await,
            Self::Logs(flags) => flags.run(client).await,
            Self::Ls(flags) => flags.run(client).await,
            Self::Ps(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
            Self::Rollback(flags) => flags.run(client).await,
            Self::Scale(flags) => flags.run(client).await,
            Self::Update(flags) => flags.run(client).await,
        }
    }
}

/// The service that `reference` names.
pub async fn find(client: &Client, reference: &str) -> Result<Service> {
    let answer = ask!(client, get_service, GetServiceRequest { service: reference.to_owned() })?;
    answer.service.with_context(|| format!("service {reference} not found"))
}

/// A changed service, and what the manager warns about.
pub struct Edited {
    /// As it is now.
    pub service: Service,
    /// In words.
    pub warnings: Vec<String>,
}

/// Changes a service's spec, anew if someone else changed it meanwhile.
pub async fn edit(
    client: &Client,
    reference: &str,
    change: impl Fn(&mut ServiceSpec) -> Result<()>,
) -> Result<Edited> {
    let mut attempt = 1;
    loop {
        let service = find(client, reference).await?;
        let mut spec = service.spec.clone().unwrap_or_default();
        change(&mut spec)?;
        let request = UpdateServiceRequest {
            service_id: service.id.clone(),
            version: service.meta.as_ref().and_then(|m| m.version),
            spec: Some(spec),
            rollback: false,
        };
        match ask!(client, update_service, request) {
            Ok(answer) => {
                let service = answer.service.unwrap_or(service);
                return Ok(Edited { service, warnings: answer.warnings });
            }
            Err(error) if is_stale(&error) && attempt < EDITS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Warnings of the manager, for the person in front.
pub fn say_warnings(warnings: &[String]) {
    for warning in warnings {
        output::note(warning);
    }
}

/// A command line split as a shell would.
fn words(flag: &str, text: &str) -> Result<Vec<String>> {
    match shlex::split(text) {
        Some(words) => Ok(words),
        None => bail!("{flag}: unbalanced quotes in {text}"),
    }
}
