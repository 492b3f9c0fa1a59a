//! `swarmctl volume create`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::CreateVolumeRequest;

use crate::client::{Client, local};
use crate::failure::refuse;
use crate::{labels, output};

/// Flags of `volume create`.
#[derive(Args, Debug)]
pub struct CreateFlags {
    /// Label; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[arg(short, long, hide = true, default_value = "local")]
    driver: String,
    #[arg(short, long, hide = true)]
    opt: Vec<String>,
    /// Name; a random one if none is given
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

impl CreateFlags {
    /// Makes the volume and shows its name.
    pub async fn run(self, client: &Client) -> Result<()> {
        if self.driver != "local" {
            bail!("volume driver \"{}\" is not supported: only local is", self.driver);
        }
        refuse("--opt", !self.opt.is_empty())?;
        let name = self.name.unwrap_or_else(swarm_api::id::random_id);
        swarm_api::name::local(&name)?;
        let request =
            CreateVolumeRequest { name: name.clone(), labels: labels::parse(&self.label)? };
        local(client.volumes().create_volume(request).await)?;
        Ok(output::line(name)?)
    }
}
