//! The daemon's command line. Everything has a default that suits a host with one daemon.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// The daemon of a host: manager and agent in one process.
#[derive(Debug, Parser)]
#[command(name = "swarmd", version, about)]
pub struct Args {
    /// Persistent state: identity, store, images, containers, volumes
    #[arg(long, default_value = "/var/lib/swarmd")]
    pub state_dir: PathBuf,
    /// Runtime state: sockets and namespaces
    #[arg(long, default_value = "/run/swarmd")]
    pub run_dir: PathBuf,
    /// Socket for swarmctl on this host
    #[arg(long, default_value = "unix:///run/swarmd/swarmd.sock")]
    pub host: String,
    /// Where other nodes reach this one, as ADDRESS:PORT to bind
    #[arg(long, default_value = "0.0.0.0:2377")]
    pub listen_addr: String,
    /// Address that other nodes are told (default: the only address of this host)
    #[arg(long)]
    pub advertise_addr: Option<String>,
    /// Address for the traffic of overlay networks (default: the advertised address)
    #[arg(long)]
    pub data_path_addr: Option<String>,
    /// Name of this node (default: the kernel's)
    #[arg(long)]
    pub hostname: Option<String>,
    /// Parent of all containers' cgroups
    #[arg(long, default_value = "swarmd")]
    pub cgroup_parent: String,
    /// The shim binary (default: swarmd-shim beside swarmd)
    #[arg(long)]
    pub shim: Option<PathBuf>,
    /// Label of this engine, for constraints on engine.labels (KEY=VALUE, repeatable)
    #[arg(long = "label", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// How log lines are written to standard error
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "SWARMD_LOG", default_value = "info,openraft=error")]
    pub log_level: String,
    /// Make this manager the only one of its cluster, when the others are lost for good. It keeps all
    /// state. Does so once: a second start with it is refused
    #[arg(long)]
    pub force_new_cluster: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What is done without a daemon, for swarmctl.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Recover a cluster on this node
    #[command(hide = true)]
    Recover(RecoverArgs),
    /// Show what a snapshot holds
    #[command(hide = true)]
    Inspect(InspectArgs),
}

/// Flags of `recover`.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {
    /// A snapshot, or the state folder of a manager
    #[arg(long)]
    pub from: PathBuf,
    /// File with the recovery key or the unlock key (default: asked for when needed)
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Flags of `inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The snapshot
    pub file: PathBuf,
    /// File with the recovery key (default: asked for when needed)
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Args {
    /// Labels as a map; a later one of the same key wins.
    pub fn label_map(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("want KEY=VALUE, not \"{text}\"")),
    }
}
