//! Flags about the container's process and its surroundings.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use swarm_api::ContainerSpec;

use crate::failure::refuse;

/// Clears what earlier updates put into the list.
const RESET: &str = "RESET";

/// Flags of both commands.
#[derive(Args, Debug, Default, PartialEq)]
pub struct ContainerFlags {
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, as NAME|UID[:GROUP|GID]
    #[arg(short, long)]
    user: Option<String>,
    /// Hostname of the container
    #[arg(long)]
    hostname: Option<String>,
    /// Program in place of the image's entrypoint, with shell quoting
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Run a small init as the container's first process
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    init: Option<bool>,
    #[arg(short, long, hide = true, num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    tty: Option<bool>,
    /// Mount the root file system read-only
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    read_only: Option<bool>,
    /// Signal that asks the process to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// How long to wait before the process is killed (10s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    stop_grace_period: Option<Duration>,
    /// Add a Linux capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a Linux capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Preference of the kernel when memory runs out (-1000 to 1000)
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1000..=1000))]
    oom_score_adj: Option<i64>,
}

impl ContainerFlags {
    /// Writes the given flags into `container`.
    pub fn apply(&self, container: &mut ContainerSpec) -> Result<()> {
        refuse("--tty", self.tty == Some(true))?;
        let texts = [
            (&self.workdir, &mut container.dir),
            (&self.user, &mut container.user),
            (&self.hostname, &mut container.hostname),
            (&self.stop_signal, &mut container.stop_signal),
        ];
        for (flag, field) in texts {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        }
        if let Some(command) = &self.entrypoint {
            container.command = crate::service::words("--entrypoint", command)?;
        }
        container.init = self.init.or(container.init);
        container.read_only = self.read_only.unwrap_or(container.read_only);
        container.oom_score_adj = self.oom_score_adj.unwrap_or(container.oom_score_adj);
        if let Some(grace) = self.stop_grace_period {
            container.stop_grace_period = Some(swarm_api::time::to_proto(grace));
        }
        self.capabilities(container);
        Ok(())
    }

    /// A capability that was added before is only no longer added when it is dropped, and the other
    /// way round; one that is given both ways is added.
    fn capabilities(&self, container: &mut ContainerSpec) {
        let mut add: BTreeSet<String> = container.cap_add.drain(..).collect();
        let mut drop: BTreeSet<String> = container.cap_drop.drain(..).collect();
        let mut to_add = normal(&self.cap_add);
        let mut to_drop = normal(&self.cap_drop);
        if to_add.remove(RESET) {
            add.clear();
        }
        if to_drop.remove(RESET) {
            drop.clear();
        }
        for capability in to_drop.difference(&to_add) {
            if !add.remove(capability) {
                drop.insert(capability.clone());
            }
        }
        for capability in to_add {
            if !drop.remove(&capability) {
                add.insert(capability);
            }
        }
        container.cap_add = add.into_iter().collect();
        container.cap_drop = drop.into_iter().collect();
    }
}

/// `net_admin` and `CAP_NET_ADMIN` are one.
fn normal(names: &[String]) -> BTreeSet<String> {
    names
        .iter()
        .map(|name| name.trim().to_uppercase())
        .map(|name| match name.as_str() {
            "ALL" | RESET => name,
            other if other.starts_with("CAP_") => name,
            other => format!("CAP_{other}"),
        })
        .collect()
}
