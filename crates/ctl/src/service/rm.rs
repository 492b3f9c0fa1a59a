//! `swarmctl service rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveServiceRequest;

use crate::client::{Client, ask};
use crate::failure::join;
use crate::output;

/// Arguments of `service rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

impl RmFlags {
    /// Removes the services.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for service in self.services {
            match ask!(client, remove_service, RemoveServiceRequest { service: service.clone() }) {
                Ok(_) => output::line(service)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
