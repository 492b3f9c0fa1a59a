//! `swarmctl image import`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use swarm_api::ImportImageRequest;

use super::upload;
use crate::client::{Client, local};
use crate::failure::refuse;
use crate::output;

/// Flags of `image import`.
#[derive(Args, Debug)]
pub struct ImportFlags {
    /// Dockerfile instruction for the image, such as 'CMD ["/web"]'; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    #[arg(short, long, hide = true)]
    message: Option<String>,
    #[arg(long, hide = true)]
    platform: Option<String>,
    /// Archive of the root file system (tar, also compressed); "-" is stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]", default_value = "")]
    reference: String,
}

impl ImportFlags {
    /// Sends the archive to the node and shows the image's id.
    pub async fn run(self, client: &Client) -> Result<()> {
        refuse("--message", self.message.is_some())?;
        refuse("--platform", self.platform.is_some())?;
        if !self.reference.is_empty() {
            swarm_api::image::ImageRef::parse(&self.reference)?;
        }
        let file = (self.file.as_os_str() != "-").then_some(self.file);
        let (reference, changes) = (self.reference, self.change);
        let (pieces, read) = upload(file, move |first, chunk| match first {
            true => {
                ImportImageRequest { reference: reference.clone(), changes: changes.clone(), chunk }
            }
            false => ImportImageRequest { chunk, ..ImportImageRequest::default() },
        });
        let answer = client.images().import_image(pieces).await;
        if let Ok(outcome) = read.await {
            outcome?;
        }
        let image = local(answer)?.image.unwrap_or_default();
        Ok(output::line(image.id)?)
    }
}
