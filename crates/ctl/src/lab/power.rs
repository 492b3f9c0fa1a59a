//! `swarmctl lab kill`, `stop` and `start`: the daemon of hosts, and nothing else on them.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::NameFlag;

/// Recovery of a large store included.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Flags of `lab kill`.
#[derive(Args, Debug)]
pub struct KillFlags {
    #[command(flatten)]
    hosts: HostFlags,
}

/// Flags of `lab stop`.
#[derive(Args, Debug)]
pub struct StopFlags {
    #[command(flatten)]
    hosts: HostFlags,
}

/// Flags of `lab start`.
#[derive(Args, Debug)]
pub struct StartFlags {
    #[command(flatten)]
    hosts: HostFlags,
}

#[derive(Args, Debug)]
struct HostFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Hosts
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl KillFlags {
    /// SIGKILL.
    pub async fn run(self) -> Result<()> {
        let HostFlags { lab, nodes } = self.hosts;
        lab.with(move |lab| Ok(nodes.iter().try_for_each(|node| lab.kill(node))?)).await
    }
}

impl StopFlags {
    /// SIGTERM, then waits for the end.
    pub async fn run(self) -> Result<()> {
        let HostFlags { lab, nodes } = self.hosts;
        lab.with(move |lab| Ok(nodes.iter().try_for_each(|node| lab.stop(node))?)).await
    }
}

impl StartFlags {
    /// Starts, then waits until it answers.
    pub async fn run(self) -> Result<()> {
        let HostFlags { lab, nodes } = self.hosts;
        lab.with(move |lab| {
            for node in &nodes {
                lab.start(node)?;
            }
            Ok(nodes.iter().try_for_each(|node| lab.wait_ready(node, READY_WITHIN))?)
        })
        .await
    }
}
