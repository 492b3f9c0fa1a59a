//! `swarmctl secret create`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{Annotations, CreateSecretRequest, SecretSpec};

use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::{input, labels, output};

/// Data must be smaller than this, in bytes.
pub const MAX_DATA: usize = 500 * 1024;

/// Flags of `secret create`.
#[derive(Args, Debug)]
pub struct CreateFlags {
    /// Label; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[arg(short, long, hide = true)]
    driver: Option<String>,
    #[arg(long, hide = true)]
    template_driver: Option<String>,
    /// Name
    #[arg(value_name = "SECRET")]
    name: String,
    /// File with the data; "-" is stdin
    #[arg(value_name = "FILE|-")]
    file: Option<String>,
}

impl CreateFlags {
    /// Makes the secret and shows its id.
    pub async fn run(self, client: &Client) -> Result<()> {
        refuse("--driver", self.driver.is_some())?;
        refuse("--template-driver", self.template_driver.is_some())?;
        swarm_api::name::file(&self.name)?;
        let Some(file) = &self.file else { bail!("secret file is required (\"-\" for stdin)") };
        let data = input::read(file).await?;
        if data.is_empty() || data.len() >= MAX_DATA {
            bail!(
                "secret data must be larger than 0 and less than {MAX_DATA} bytes ({} has {})",
                self.name,
                data.len()
            );
        }
        let annotations = Annotations { name: self.name, labels: labels::parse(&self.label)? };
        let request = CreateSecretRequest {
            spec: Some(SecretSpec { annotations: Some(annotations), data }),
            request_id: swarm_api::id::random_id(),
        };
        let made = ask!(client, create_secret, request)?.secret.unwrap_or_default();
        Ok(output::line(made.id)?)
    }
}
