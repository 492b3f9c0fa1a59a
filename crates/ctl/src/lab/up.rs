//! `swarmctl lab up`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use swarm_lab::{LabOptions, Labs, Role};

use super::cluster::{self, Member};
use super::{NameFlag, blocking, tell};
use crate::output;

/// A daemon opens its socket within milliseconds; on a busy machine within seconds.
const DAEMON_READY: Duration = Duration::from_secs(20);

/// Flags of `lab up`.
#[derive(Args, Debug)]
pub struct UpFlags {
    /// Hosts that are managers: m1, m2, …
    #[arg(long, value_name = "N", default_value_t = 1)]
    managers: u8,
    /// Hosts that are workers: w1, w2, …
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: u8,
    #[command(flatten)]
    lab: NameFlag,
    /// Daemon that the hosts run (the one next to swarmctl)
    #[arg(long, value_name = "PATH")]
    swarmd: Option<PathBuf>,
    /// Only bring the hosts up; make no cluster of them
    #[arg(long)]
    no_cluster: bool,
}

impl UpFlags {
    /// Brings the hosts up and makes a cluster of them; finds done what is done already.
    pub async fn run(self) -> Result<()> {
        if self.managers == 0 && !self.no_cluster {
            bail!("--managers must be at least 1: a cluster needs a manager");
        }
        let options = LabOptions {
            name: self.lab.name.clone(),
            managers: self.managers,
            workers: self.workers,
            swarmd: daemon(self.swarmd.as_deref())?,
            arguments: Vec::new(),
        };
        let lab = blocking(move || Ok(Labs::default().create(&options, &tell)?)).await?;
        let forming = lab.clone();
        // Held to the end: two commands must not form the same cluster.
        let _held = blocking(move || Ok(forming.hold_forming(&tell)?)).await?;
        let waiting = lab.clone();
        blocking(move || {
            for host in waiting.nodes() {
                waiting.wait_ready(&host.name, DAEMON_READY)?;
            }
            Ok(())
        })
        .await?;
        if !self.no_cluster {
            let mut members = Vec::new();
            for host in lab.nodes() {
                members.push(Member {
                    name: host.name.clone(),
                    address: host.address.to_string(),
                    manager: host.role == Role::Manager,
                    socket: lab.env(&host.name)?,
                });
            }
            cluster::form(&members).await?;
        }
        self.say_how_to_go_on(lab.name())
    }

    fn say_how_to_go_on(&self, lab: &str) -> Result<()> {
        let name = if lab == "lab" { String::new() } else { format!(" --name {lab}") };
        let first = if self.managers > 0 { "m1" } else { "w1" };
        let (managers, workers) = (self.managers, self.workers);
        output::line(format_args!("lab {lab} is up: {managers} managers, {workers} workers"))?;
        output::line(format_args!("  use it:    eval \"$(swarmctl lab env{name} {first})\""))?;
        output::line("  look:      swarmctl node ls")?;
        Ok(output::line(format_args!("  remove it: swarmctl lab down{name}"))?)
    }
}

/// The absolute path of the daemon.
fn daemon(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("swarmd"),
    };
    if !path.is_file() {
        bail!("there is no swarmd at {}: build it, or name it with --swarmd", path.display());
    }
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}
