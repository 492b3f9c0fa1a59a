//! `swarmctl stack ps`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::ListTasksRequest;

use super::{check_name, services_of};
use crate::client::Client;
use crate::tasks::{self, TaskFlags};

/// Flags of `stack ps`.
#[derive(Args, Debug)]
pub struct PsFlags {
    #[command(flatten)]
    tasks: TaskFlags,
    /// Stack
    #[arg(value_name = "STACK")]
    stack: String,
}

impl PsFlags {
    /// Lists the stack's tasks.
    pub async fn run(self, client: &Client) -> Result<()> {
        check_name(&self.stack)?;
        let services = services_of(client, &self.stack).await?;
        if services.is_empty() {
            bail!("nothing found in stack: {}", self.stack);
        }
        let service_ids = services.into_iter().map(|s| s.id).collect();
        let request = ListTasksRequest { service_ids, ..ListTasksRequest::default() };
        tasks::show(client, &self.tasks, request).await
    }
}
