//! `swarmctl config create`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{Annotations, ConfigSpec, CreateConfigRequest};

use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::{input, labels, output};

/// Data must be smaller than this, in bytes.
pub const MAX_DATA: usize = 1000 * 1024;

/// Flags of `config create`.
#[derive(Args, Debug)]
pub struct CreateFlags {
    /// Label; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[arg(long, hide = true)]
    template_driver: Option<String>,
    /// Name
    #[arg(value_name = "CONFIG")]
    name: String,
    /// File with the data; "-" is stdin
    #[arg(value_name = "FILE|-")]
    file: Option<String>,
}

impl CreateFlags {
    /// Makes the config and shows its id.
    pub async fn run(self, client: &Client) -> Result<()> {
        refuse("--template-driver", self.template_driver.is_some())?;
        swarm_api::name::file(&self.name)?;
        let Some(file) = &self.file else { bail!("config file is required (\"-\" for stdin)") };
        let data = input::read(file).await?;
        if data.is_empty() || data.len() >= MAX_DATA {
            bail!(
                "config data must be larger than 0 and less than {MAX_DATA} bytes ({} has {})",
                self.name,
                data.len()
            );
        }
        let annotations = Annotations { name: self.name, labels: labels::parse(&self.label)? };
        let request = CreateConfigRequest {
            spec: Some(ConfigSpec { annotations: Some(annotations), data }),
            request_id: swarm_api::id::random_id(),
        };
        let made = ask!(client, create_config, request)?.config.unwrap_or_default();
        Ok(output::line(made.id)?)
    }
}
