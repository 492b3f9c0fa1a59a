//! The command line as a whole: which nouns there are and which of them need a daemon.

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::client::{Client, DEFAULT_HOST};
use crate::cluster::{ClusterCommand, StateCommand};
use crate::config::ConfigCommand;
use crate::image::ImageCommand;
use crate::lab::LabCommand;
use crate::network::NetworkCommand;
use crate::node::NodeCommand;
use crate::output;
use crate::secret::SecretCommand;
use crate::service::ServiceCommand;
use crate::stack::StackCommand;
use crate::volume::VolumeCommand;

/// Clusters of containers: hosts, services and stacks
#[derive(Parser, Debug)]
#[command(name = "swarmctl", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Daemon to talk to, as unix:///PATH
    #[arg(short = 'H', long, env = "SWARM_HOST", default_value = DEFAULT_HOST, value_name = "HOST")]
    host: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// The state of the cluster: snapshots and recovery
    #[command(subcommand, name = "cluster")]
    State(StateCommand),
    /// The commands on the cluster, as Docker names them
    #[command(subcommand, hide = true)]
    Swarm(ClusterCommand),
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Services
    #[command(subcommand)]
    Service(Box<ServiceCommand>),
    /// Stacks: the services of a compose file
    #[command(subcommand)]
    Stack(StackCommand),
    /// Networks between containers
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Secrets
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Configs
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Images of this node
    #[command(subcommand)]
    Image(ImageCommand),
    /// Volumes of this node
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Many hosts on this machine, to try things
    #[command(subcommand)]
    Lab(LabCommand),
    /// Version of swarmctl and of the daemon
    Version(VersionFlags),
}

#[derive(Args, Debug)]
struct VersionFlags {}

/// Runs one command to its end.
pub async fn run(cli: Cli) -> Result<()> {
    let host = cli.host.as_str();
    match cli.command {
        Command::Lab(command) => command.run().await,
        Command::Stack(StackCommand::Config(flags)) => flags.run().await,
        Command::Version(_) => version(host).await,
        Command::State(command) => command.run(host).await,
        command => ask_daemon(command, &Client::connect(host).await?).await,
    }
}

async fn ask_daemon(command: Command, client: &Client) -> Result<()> {
    match command {
        Command::Cluster(command) | Command::Swarm(command) => command.run(client).await,
        Command::Node(command) => command.run(client).await,
        Command::Service(command) => command.run(client).await,
        Command::Stack(command) => command.run(client).await,
        Command::Network(command) => command.run(client).await,
        Command::Secret(command) => command.run(client).await,
        Command::Config(command) => command.run(client).await,
        Command::Image(command) => command.run(client).await,
        Command::Volume(command) => command.run(client).await,
        // Answered without a daemon, or not always by one.
        Command::Lab(_) | Command::Version(_) | Command::State(_) => Ok(()),
    }
}

async fn version(host: &str) -> Result<()> {
    output::line(format_args!("swarmctl {}", env!("CARGO_PKG_VERSION")))?;
    // The client's version is worth showing even where no daemon runs.
    match async { Client::connect(host).await?.info().await }.await {
        Ok(info) => output::line(format_args!("swarmd   {}", info.version))?,
        Err(error) => output::note(format_args!("swarmd   unknown: {error:#}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
