//! `swarmctl image tag`.

use anyhow::Result;
use clap::Args;
use swarm_api::TagImageRequest;
use swarm_api::image::ImageRef;

use crate::client::{Client, local};

/// Arguments of `image tag`.
#[derive(Args, Debug)]
pub struct TagFlags {
    /// Image
    #[arg(value_name = "SOURCE[:TAG]")]
    source: String,
    /// Its further name
    #[arg(value_name = "TARGET[:TAG]")]
    target: String,
}

impl TagFlags {
    /// Names the image.
    pub async fn run(self, client: &Client) -> Result<()> {
        ImageRef::parse(&self.target)?;
        let request = TagImageRequest { source: self.source, target: self.target };
        local(client.images().tag_image(request).await).map(drop)
    }
}
