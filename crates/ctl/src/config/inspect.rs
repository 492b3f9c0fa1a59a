//! `swarmctl config inspect`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{Config, GetConfigRequest};

use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::failure::join;
use crate::{inspect, output, shape};

/// Flags of `config inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    /// "json" or a template such as "{{.Spec.Name}}"
    #[arg(short, long)]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
    /// Configs
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

impl InspectFlags {
    /// Shows the configs.
    pub async fn run(self, client: &Client) -> Result<()> {
        if self.pretty && self.format.is_some() {
            bail!("cannot supply extra formatting options to the pretty template");
        }
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for config in self.configs {
            match ask!(client, get_config, GetConfigRequest { config: config.clone() }) {
                Ok(answer) => found.extend(answer.config),
                Err(error) => errors.push(error),
            }
        }
        if self.pretty {
            let texts: Vec<String> = found.iter().map(pretty).collect();
            output::raw(texts.join("\n").as_bytes())?;
            return join(errors);
        }
        let found: Vec<_> = found.iter().map(shape::config::config).collect();
        inspect::print(&found, errors, self.format.as_deref())
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
