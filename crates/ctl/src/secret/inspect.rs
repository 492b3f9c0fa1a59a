//! `swarmctl secret inspect`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{GetSecretRequest, Secret};

use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::failure::join;
use crate::{inspect, output, shape};

/// Flags of `secret inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    /// "json" or a template such as "{{.Spec.Name}}"
    #[arg(short, long)]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
    /// Secrets
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

impl InspectFlags {
    /// Shows the secrets.
    pub async fn run(self, client: &Client) -> Result<()> {
        if self.pretty && self.format.is_some() {
            bail!("cannot supply extra formatting options to the pretty template");
        }
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for secret in self.secrets {
            match ask!(client, get_secret, GetSecretRequest { secret: secret.clone() }) {
                Ok(answer) => found.extend(answer.secret),
                Err(error) => errors.push(error),
            }
        }
        if self.pretty {
            let texts: Vec<String> = found.iter().map(pretty).collect();
            output::raw(texts.join("\n").as_bytes())?;
            return join(errors);
        }
        let found: Vec<_> = found.iter().map(shape::secret::secret).collect();
        inspect::print(&found, errors, self.format.as_deref())
    }
}

fn pretty(secret: &Secret) -> String {
    let meta = secret.meta.unwrap_or_default();
    let mut lines =
        vec![format!("ID:\t\t\t{}", secret.id), format!("Name:\t\t\t{}", secret.name())];
    lines.push("Labels:".into());
    for (key, value) in secret.labels().into_iter().flatten() {
        lines.push(format!(" - {key}={value}"));
    }
    lines.push(format!("Created at:\t\t{}", rfc3339(meta.created_at.as_ref())));
    lines.push(format!("Updated at:\t\t{}", rfc3339(meta.updated_at.as_ref())));
    lines.join("\n") + "\n"
}
