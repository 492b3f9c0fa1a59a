//! `swarmctl config inspect`.

use anyhow::Result;
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{Config, GetConfigRequest};

use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::inspect::Form;
use crate::shape;

/// Flags of `config inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    #[command(flatten)]
    form: Form,
    /// Configs
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

impl InspectFlags {
    /// Shows the configs.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.form.check()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for config in self.configs {
            match ask!(client, get_config, GetConfigRequest { config: config.clone() }) {
                Ok(answer) => found.extend(answer.config),
                Err(error) => errors.push(error),
            }
        }
        self.form.print(&found, errors, shape::config::config, pretty)
    }
}

fn pretty(config: &Config) -> String {
    let meta = config.meta.unwrap_or_default();
    let mut lines =
        vec![format!("ID:\t\t\t{}", config.id), format!("Name:\t\t\t{}", config.name())];
    lines.push("Labels:".into());
    for (key, value) in config.labels().into_iter().flatten() {
        lines.push(format!(" - {key}={value}"));
    }
    lines.push(format!("Created at:\t\t{}", rfc3339(meta.created_at.as_ref())));
    lines.push(format!("Updated at:\t\t{}", rfc3339(meta.updated_at.as_ref())));
    let data = config.spec.as_ref().map(|s| String::from_utf8_lossy(&s.data).into_owned());
    lines.push(format!("Data:\n{}", data.unwrap_or_default()));
    lines.join("\n") + "\n"
}
