//! `swarmctl lab down`.

use anyhow::Result;
use clap::Args;
use swarm_lab::Labs;

use super::{NameFlag, blocking, tell};

/// Flags of `lab down`.
#[derive(Args, Debug)]
pub struct DownFlags {
    #[command(flatten)]
    lab: NameFlag,
}

impl DownFlags {
    /// Removes the lab, also one that is half made or half gone.
    pub async fn run(self) -> Result<()> {
        blocking(move || Ok(Labs::default().remove(&self.lab.name, &tell)?)).await
    }
}
