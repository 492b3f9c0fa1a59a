//! `swarmctl secret inspect`.

use anyhow::Result;
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{GetSecretRequest, Secret};

use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::inspect::Form;
use crate::shape;

/// Flags of `secret inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    #[command(flatten)]
    form: Form,
    /// Secrets
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

impl InspectFlags {
    /// Shows the secrets.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.form.check()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for secret in self.secrets {
            match ask!(client, get_secret, GetSecretRequest { secret: secret.clone() }) {
                Ok(answer) => found.extend(answer.secret),
                Err(error) => errors.push(error),
            }
        }
        self.form.print(&found, errors, shape::secret::secret, pretty)
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
