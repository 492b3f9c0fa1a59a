//! `swarmctl image load`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use swarm_api::LoadImageRequest;

use super::upload;
use crate::client::{Client, local};
use crate::output;

/// Flags of `image load`.
#[derive(Args, Debug)]
pub struct LoadFlags {
    /// Archive to read in place of stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only say what went wrong
    #[arg(short, long)]
    quiet: bool,
}

impl LoadFlags {
    /// Sends the archive to the node.
    pub async fn run(self, client: &Client) -> Result<()> {
        let (pieces, read) = upload(self.input, |_, chunk| LoadImageRequest { chunk });
        let answer = client.images().load_image(pieces).await;
        if let Ok(outcome) = read.await {
            outcome?;
        }
        for image in local(answer)?.images {
            if self.quiet {
                continue;
            }
            for tag in &image.repo_tags {
                output::line(format_args!("Loaded image: {tag}"))?;
            }
            if image.repo_tags.is_empty() {
                output::line(format_args!("Loaded image ID: {}", image.id))?;
            }
        }
        Ok(())
    }
}
