//! Flags that the incumbent has and that are not built here: accepted by the parser, refused by
//! name.

use anyhow::Result;
use clap::Args;

use crate::failure::refuse;

/// Flags of both commands.
#[derive(Args, Debug, Default, PartialEq)]
pub struct RefusedFlags {
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    credential_spec: Option<String>,
    #[arg(long, hide = true)]
    memory_swap: Option<String>,
    #[arg(long, hide = true)]
    memory_swappiness: Option<String>,
    #[arg(long, hide = true)]
    max_concurrent: Option<String>,
    #[arg(long, hide = true)]
    with_registry_auth: bool,
}

impl RefusedFlags {
    /// An error for the first one that is given.
    pub fn check(&self) -> Result<()> {
        refuse("--isolation", self.isolation.is_some())?;
        refuse("--credential-spec", self.credential_spec.is_some())?;
        refuse("--memory-swap", self.memory_swap.is_some())?;
        refuse("--memory-swappiness", self.memory_swappiness.is_some())?;
        refuse("--max-concurrent", self.max_concurrent.is_some())?;
        refuse("--with-registry-auth", self.with_registry_auth)
    }
}
