//! `swarmctl stack services`.

use anyhow::Result;
use clap::Args;

use super::{check_name, services_of, stack_of};
use crate::client::Client;
use crate::listing::ListFlags;
use crate::{output, service};

/// Flags of `stack services`.
#[derive(Args, Debug)]
pub struct ServicesFlags {
    /// Only services with KEY=VALUE: id, name, mode, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
    /// Stack
    #[arg(value_name = "STACK")]
    stack: String,
}

impl ServicesFlags {
    /// Lists the stack's services.
    pub async fn run(self, client: &Client) -> Result<()> {
        check_name(&self.stack)?;
        if services_of(client, &self.stack).await?.is_empty() {
            output::note(format_args!("Nothing found in stack: {}", self.stack));
            return Ok(());
        }
        let stack = self.stack.as_str();
        let mine = |s: &swarm_api::Service| stack_of(s) == Some(stack);
        service::list(client, &self.filter, &self.list, mine).await.map(drop)
    }
}
