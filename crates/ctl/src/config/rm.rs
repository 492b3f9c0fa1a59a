//! `swarmctl config rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveConfigRequest;

use crate::client::{Client, ask};
use crate::failure::join;
use crate::output;

/// Arguments of `config rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Configs
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

impl RmFlags {
    /// Removes the configs.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for config in self.configs {
            match ask!(client, remove_config, RemoveConfigRequest { config: config.clone() }) {
                Ok(_) => output::line(config)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
