//! `swarmctl volume rm`.

use anyhow::Result;
use clap::Args;
use swarm_api::RemoveVolumeRequest;

use crate::client::{Client, local};
use crate::failure::join;
use crate::output;

/// Flags of `volume rm`.
#[derive(Args, Debug)]
pub struct RmFlags {
    /// No error for a volume that does not exist
    #[arg(short, long)]
    force: bool,
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl RmFlags {
    /// Removes the volumes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut errors = Vec::new();
        for name in self.volumes {
            let request = RemoveVolumeRequest { name: name.clone(), force: self.force };
            match local(client.volumes().remove_volume(request).await) {
                Ok(_) => output::line(name)?,
                Err(error) => errors.push(error),
            }
        }
        join(errors)
    }
}
