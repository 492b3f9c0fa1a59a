//! Commands on networks.

mod connect;
mod create;
mod df;
mod inspect;
mod ls;
mod prune;
mod rm;
mod update;
mod users;

use anyhow::Result;
use clap::Subcommand;

use crate::client::Client;

/// What can be done with networks.
#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Make a network
    Create(Box<create::CreateFlags>),
    /// List networks
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Show networks in detail
    Inspect(inspect::InspectFlags),
    /// Show how many addresses are used and free, and what a change would take
    Df(df::DfFlags),
    /// Change labels, or grow the subnets of a network while it is used
    Update(update::UpdateFlags),
    /// Remove networks
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
    /// Remove all networks that no service uses
    Prune(prune::PruneFlags),
    /// Connect a container to a network (services: service update --network-add)
    #[command(hide = true)]
    Connect(connect::ConnectFlags),
    /// Disconnect a container from a network (services: service update --network-rm)
    #[command(hide = true)]
    Disconnect(connect::ConnectFlags),
}

impl NetworkCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Create(flags) => flags.run(client).await,
            Self::Ls(flags) => flags.run(client).await,
            Self::Inspect(flags) => flags.run(client).await,
            Self::Df(flags) => flags.run(client).await,
            Self::Update(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
            Self::Prune(flags) => flags.run(client).await,
            Self::Connect(flags) => flags.refuse("connect", "--network-add"),
            Self::Disconnect(flags) => flags.refuse("disconnect", "--network-rm"),
        }
    }
}
