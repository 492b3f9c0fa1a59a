//! `swarmctl service rollback`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::UpdateServiceRequest;

use super::{find, say_warnings};
use crate::client::{Client, ask};
use crate::output;
use crate::progress::{self, Goal, WaitOptions};

/// Flags of `service rollback`.
#[derive(Args, Debug)]
pub struct RollbackFlags {
    /// Do not wait until the tasks run
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    detach: Option<bool>,
    /// Wait without showing progress
    #[arg(short, long)]
    quiet: bool,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

impl RollbackFlags {
    /// Rolls the service back and waits for it.
    pub async fn run(self, client: &Client) -> Result<()> {
        let options = WaitOptions { quiet: self.quiet, ..WaitOptions::default() };
        roll_back(client, &self.service, self.detach.unwrap_or(false), options).await
    }
}

/// Swaps the service's spec and the one before it.
pub async fn roll_back(
    client: &Client,
    reference: &str,
    detached: bool,
    options: WaitOptions,
) -> Result<()> {
    let service = find(client, reference).await?;
    if service.previous_spec.is_none() {
        bail!("service {reference} does not have a previous spec");
    }
    let request = UpdateServiceRequest {
        service_id: service.id.clone(),
        version: service.meta.as_ref().and_then(|m| m.version),
        spec: None,
        rollback: true,
    };
    let answer = ask!(client, update_service, request)?;
    say_warnings(&answer.warnings);
    output::line(reference)?;
    if detached {
        return Ok(());
    }
    let goal = Goal::roll_back(&service.id, service.spec_name());
    progress::wait(client, vec![goal], options).await
}
