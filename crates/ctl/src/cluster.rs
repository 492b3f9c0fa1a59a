//! Commands on the cluster as a whole and on this node's part in it: `swarmctl init`, `join`, …
//! (also `swarmctl swarm …`).

mod ca;
mod info;
mod init;
mod join;
mod join_token;
mod leave;
mod reach;
mod recover;
mod snapshot;
mod terminal;
mod unlock;
mod unlock_key;
mod update;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use swarm_api::NodeAvailability;

use crate::client::Client;

pub use join_token::{cluster, join_command, token};

/// What can be done with a cluster.
#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Make a cluster with this node as its first manager
    Init(Box<init::InitFlags>),
    /// Join this node to a cluster
    Join(join::JoinFlags),
    /// Show or rotate the token that lets nodes join
    JoinToken(join_token::JoinTokenFlags),
    /// Take this node out of its cluster
    Leave(leave::LeaveFlags),
    /// Name managers by their addresses, where this node knows only where they were
    Reach(reach::ReachFlags),
    /// Change settings of the cluster
    Update(update::UpdateFlags),
    /// Show the cluster's root certificate, or replace it
    Ca(ca::CaFlags),
    /// Show this node and its cluster
    Info(info::InfoFlags),
    /// Unlock this manager after a restart
    Unlock(unlock::UnlockFlags),
    /// Show or rotate the key that unlocks managers
    UnlockKey(unlock_key::UnlockKeyFlags),
}

/// What can be done with the cluster's state as a whole.
#[derive(Subcommand, Debug)]
pub enum StateCommand {
    /// Copies of the whole state
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Make a cluster anew from a snapshot, or from what a manager left, while no manager runs
    Recover(recover::RecoverFlags),
}

impl StateCommand {
    /// Runs it; `host` is the daemon's, where one is asked.
    pub async fn run(self, host: &str) -> Result<()> {
        match self {
            Self::Snapshot(command) => command.run(host).await,
            Self::Recover(flags) => flags.run(),
        }
    }
}

impl ClusterCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Init(flags) => flags.run(client).await,
            Self::Join(flags) => flags.run(client).await,
            Self::JoinToken(flags) => flags.run(client).await,
            Self::Leave(flags) => flags.run(client).await,
            Self::Reach(flags) => flags.run(client).await,
            Self::Update(flags) => flags.run(client).await,
            Self::Ca(flags) => flags.run(client).await,
            Self::Info(flags) => flags.run(client).await,
            Self::Unlock(flags) => flags.run(client).await,
            Self::UnlockKey(flags) => flags.run(client).await,
        }
    }
}

/// Whether a node takes tasks.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
pub enum Availability {
    /// Takes tasks
    Active,
    /// Keeps its tasks, takes no new ones
    Pause,
    /// Its tasks move elsewhere
    Drain,
}

impl From<Availability> for NodeAvailability {
    fn from(availability: Availability) -> Self {
        match availability {
            Availability::Active => Self::Active,
            Availability::Pause => Self::Pause,
            Availability::Drain => Self::Drain,
        }
    }
}

/// Which of the two kinds of node.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Runs tasks
    Worker,
    /// Also keeps the cluster's state
    Manager,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}

impl From<Role> for swarm_api::NodeRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Manager => Self::Manager,
        }
    }
}
