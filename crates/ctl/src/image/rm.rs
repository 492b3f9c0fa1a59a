//! `swarmctl image rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveImageRequest;

use crate::client::{Client, local};
use crate::failure::join;
use crate::output;

/// Flags of `image rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// Remove the image with all its names
    #[arg(short, long)]
    force: bool,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl RmFlags {
    /// Removes the images from the node.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for reference in self.images {
            let request = RemoveImageRequest { reference, force: self.force };
            match local(client.images().remove_image(request).await) {
                Ok(answer) => {
                    for name in answer.untagged {
                        output::line(format_args!("Untagged: {name}"))?;
                    }
                    for id in answer.deleted {
                        output::line(format_args!("Deleted: {id}"))?;
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
