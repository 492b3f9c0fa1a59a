//! Many hosts on this machine: `swarmctl lab`. The lab brings hosts up; this module makes one
//! cluster of them.

mod cluster;
mod down;
mod env;
mod exec;
mod ls;
mod network;
mod power;
mod up;

use anyhow::Result;
use clap::{Args, Subcommand};
use swarm_lab::{Lab, Labs, Step};

use crate::output;

/// What can be done with labs.
#[derive(Subcommand, Debug)]
pub enum LabCommand {
    /// Bring hosts up, or more of them, and make one cluster of them
    Up(up::UpFlags),
    /// List the hosts of labs
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Print the shell command that points swarmctl at a host
    Env(env::EnvFlags),
    /// Run a command on a host
    Exec(exec::ExecFlags),
    /// Kill swarmd on hosts (SIGKILL); their containers go on
    Kill(power::KillFlags),
    /// Stop swarmd on hosts (SIGTERM); their containers go on
    Stop(power::StopFlags),
    /// Start swarmd on hosts
    Start(power::StartFlags),
    /// Pull the network cable of hosts
    Cut(network::CutFlags),
    /// Put the cables of hosts back; of all, ending a partition, if none is named
    Heal(network::HealFlags),
    /// Split the network: only hosts of one group reach each other
    Partition(network::PartitionFlags),
    /// Remove the lab and all that it made
    Down(down::DownFlags),
}

impl LabCommand {
    /// Runs it.
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Up(flags) => flags.run().await,
            Self::Ls(flags) => flags.run().await,
            Self::Env(flags) => flags.run().await,
            Self::Exec(flags) => flags.run().await,
            Self::Kill(flags) => flags.run().await,
            Self::Stop(flags) => flags.run().await,
            Self::Start(flags) => flags.run().await,
            Self::Cut(flags) => flags.run().await,
            Self::Heal(flags) => flags.run().await,
            Self::Partition(flags) => flags.run().await,
            Self::Down(flags) => flags.run().await,
        }
    }
}

/// Which lab.
#[derive(Args, Clone, Debug)]
struct NameFlag {
    /// Name of the lab
    #[arg(long, env = "SWARM_LAB", default_value = "lab")]
    name: String,
}

impl NameFlag {
    /// Works on the lab, on a thread that may block.
    async fn with<T: Send + 'static>(
        self,
        work: impl FnOnce(&Lab) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        blocking(move || work(&Labs::default().open(&self.name)?)).await
    }
}

/// Labs block: namespaces, child processes.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Shows a step of the lab.
fn tell(step: Step) {
    output::note(step);
}
