//! `swarmctl network connect` and `disconnect`: refused, because there is nothing that they could work on. Containers belong
//! to tasks here, and tasks get their networks from their service.

use anyhow::{Result, bail};
use clap::Args;

/// Arguments of `network connect` and `network disconnect`.
#[derive(Args, Debug)]
pub struct ConnectFlags {
    /// Network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Container, and whatever flags it is to have
    #[arg(value_name = "CONTAINER", trailing_var_arg = true, allow_hyphen_values = true)]
    container: Vec<String>,
}

impl ConnectFlags {
    /// Says what does it instead.
    pub fn refuse(self, verb: &str, flag: &str) -> Result<()> {
        let (network, container) = (self.network, self.container.join(" "));
        bail!(
            "network {verb} {network} {container}: containers that belong to no service are not \
             built yet; a service changes its networks with 'swarmctl service update {flag} \
             {network} SERVICE'"
        )
    }
}
