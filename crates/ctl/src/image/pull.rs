//! `swarmctl image pull`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use swarm_api::image::ImageRef;
use swarm_api::{ImageProgress, PullImageRequest};

use crate::client::{Client, local};
use crate::failure::Refused;
use crate::output;

/// Flags of `image pull`.
#[derive(Args)]
pub struct PullFlags {
    /// Only show the pulled image's name
    #[arg(short, long)]
    quiet: bool,
    /// User at the registry
    #[arg(long, default_value = "")]
    username: String,
    /// Password at the registry
    #[arg(long, env = "SWARM_REGISTRY_PASSWORD", default_value = "", hide_env_values = true)]
    password: String,
    /// Image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    reference: String,
}

/// Without the password.
impl std::fmt::Debug for PullFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullFlags").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl PullFlags {
    /// Pulls the image to the connected node and shows how it goes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let reference = ImageRef::parse(&self.reference)?.to_string();
        let request = PullImageRequest {
            reference: reference.clone(),
            username: self.username,
            password: self.password,
        };
        let mut stream = local(client.images().pull_image(request).await)?;
        let mut layers = Layers::default();
        let mut pulled = None;
        while let Some(progress) = stream.message().await.map_err(Refused::from)? {
            if !self.quiet {
                layers.show(&progress)?;
            }
            pulled = progress.image.or(pulled);
        }
        let pulled = pulled.context("the pull ended without an image")?;
        if !self.quiet && !pulled.digest.is_empty() {
            output::line(format_args!("Digest: {}", pulled.digest))?;
        }
        Ok(output::line(reference)?)
    }
}

/// What was last shown of each layer: on a terminal the byte counts move, elsewhere only changes of
/// status are lines.
#[derive(Default)]
struct Layers(BTreeMap<String, String>);

impl Layers {
    fn show(&mut self, progress: &ImageProgress) -> Result<()> {
        if progress.status.is_empty() {
            return Ok(());
        }
        let id = progress.id.trim_start_matches("sha256:");
        let id = swarm_api::id::short(id);
        let prefix = if id.is_empty() { String::new() } else { format!("{id}: ") };
        let before = self.0.insert(progress.id.clone(), progress.status.clone());
        if before.as_deref() != Some(&progress.status) {
            output::line(format_args!("{prefix}{}", progress.status))?;
        } else if progress.total > 0 && output::is_terminal() {
            let size = swarm_api::size::format_decimal;
            let (done, all) = (size(progress.current), size(progress.total));
            let mut out = std::io::stdout().lock();
            write!(out, "\x1b[2K{prefix}{} {done}/{all}\r", progress.status)?;
            out.flush()?;
        }
        Ok(())
    }
}
