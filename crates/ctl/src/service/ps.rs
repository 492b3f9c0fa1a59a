//! `swarmctl service ps`.

use anyhow::Result;
use clap::Args;
use swarm_api::ListTasksRequest;

use super::find;
use crate::client::Client;
use crate::failure::{is_not_found, join};
use crate::tasks::{self, TaskFlags};

/// Flags of `service ps`.
#[derive(Args, Debug)]
pub struct PsFlags {
    #[command(flatten)]
    tasks: TaskFlags,
    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

impl PsFlags {
    /// Lists the tasks of the services.
    pub async fn run(self, client: &Client) -> Result<()> {
        let (mut service_ids, mut errors) = (Vec::new(), Vec::new());
        for reference in &self.services {
            match find(client, reference).await {
                Ok(service) => service_ids.push(service.id),
                Err(error) if is_not_found(&error) => {
                    errors.push(anyhow::anyhow!("no such service: {reference}"));
                }
                Err(error) => errors.push(error),
            }
        }
        if !service_ids.is_empty() {
            let request = ListTasksRequest { service_ids, ..ListTasksRequest::default() };
            tasks::show(client, &self.tasks, request).await?;
        }
        join(errors)
    }
}
