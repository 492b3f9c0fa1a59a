//! `swarmctl secret rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveSecretRequest;

use crate::client::{Client, ask};
use crate::failure::join;
use crate::output;

/// Arguments of `secret rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Secrets
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

impl RmFlags {
    /// Removes the secrets.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for secret in self.secrets {
            match ask!(client, remove_secret, RemoveSecretRequest { secret: secret.clone() }) {
                Ok(_) => output::line(secret)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
