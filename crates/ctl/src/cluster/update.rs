//! `swarmctl update`: settings of the cluster. `init` takes the same ones.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{ClusterSpec, UpdateClusterRequest};

use super::join_token::cluster;
use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::output;

/// Below this, nodes would do little else than renew.
const MIN_EXPIRY: Duration = Duration::from_secs(3600);

/// Settings of the cluster.
#[derive(Args, Debug, Default)]
pub struct SpecFlags {
    /// Tasks kept per slot, the live one included (5)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    task_history_limit: Option<i64>,
    /// How often a node says that it lives (5s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    dispatcher_heartbeat: Option<Duration>,
    /// How long a node's certificate lasts (2160h)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    cert_expiry: Option<Duration>,
    #[arg(long, hide = true)]
    snapshot_interval: Option<u64>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    autolock: Option<bool>,
    #[arg(long, hide = true)]
    max_snapshots: Option<u64>,
    #[arg(long, hide = true)]
    external_ca: Vec<String>,
}

impl SpecFlags {
    /// Refuses what is out of range or not built.
    pub fn check(&self) -> Result<()> {
        refuse("--autolock", self.autolock == Some(true))?;
        refuse("--snapshot-interval", self.snapshot_interval.is_some())?;
        refuse("--max-snapshots", self.max_snapshots.is_some())?;
        refuse("--external-ca", !self.external_ca.is_empty())?;
        match self.cert_expiry {
            Some(expiry) if expiry < MIN_EXPIRY => {
                bail!("--cert-expiry: the minimum certificate expiry time is 1h0m0s")
            }
            _ => Ok(()),
        }
    }

    /// Whether any setting is given.
    pub fn changes_something(&self) -> bool {
        self.task_history_limit.is_some()
            || self.dispatcher_heartbeat.is_some()
            || self.cert_expiry.is_some()
    }

    fn edit(&self, spec: &mut ClusterSpec) {
        if let Some(limit) = self.task_history_limit {
            spec.task_history_limit = limit;
        }
        if let Some(period) = self.dispatcher_heartbeat {
            spec.heartbeat_period = Some(swarm_api::time::to_proto(period));
        }
        if let Some(expiry) = self.cert_expiry {
            spec.node_cert_expiry = Some(swarm_api::time::to_proto(expiry));
        }
    }

    /// Writes the settings into the cluster.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        let cluster = cluster(client).await?;
        let mut spec = cluster.spec.unwrap_or_default();
        self.edit(&mut spec);
        let request = UpdateClusterRequest {
            version: cluster.meta.and_then(|m| m.version),
            spec: Some(spec),
            ..UpdateClusterRequest::default()
        };
        ask!(client, update_cluster, request).map(drop)
    }
}

/// Flags of `update`.
#[derive(Args, Debug)]
pub struct UpdateFlags {
    #[command(flatten)]
    spec: SpecFlags,
}

impl UpdateFlags {
    /// Changes the settings.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.spec.check()?;
        if !self.spec.changes_something() {
            bail!("nothing to update: give at least one flag (see 'swarmctl update --help')");
        }
        self.spec.apply(client).await?;
        Ok(output::line("Swarm updated.")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_given_settings_change() {
        let flags = SpecFlags { task_history_limit: Some(2), ..SpecFlags::default() };
        let mut spec = ClusterSpec { snapshot_interval: 7, ..ClusterSpec::default() };
        flags.edit(&mut spec);
        assert_eq!((spec.task_history_limit, spec.snapshot_interval), (2, 7));
    }

    #[test]
    fn settings_that_are_not_built_are_refused_by_name() {
        let flags = SpecFlags { autolock: Some(true), ..SpecFlags::default() };
        assert_eq!(flags.check().unwrap_err().to_string(), "--autolock is not supported yet");
        let flags = SpecFlags { snapshot_interval: Some(9), ..SpecFlags::default() };
        assert!(flags.check().unwrap_err().to_string().starts_with("--snapshot-interval is not"));
        let short = SpecFlags { cert_expiry: Some(Duration::from_secs(9)), ..SpecFlags::default() };
        assert!(short.check().unwrap_err().to_string().contains("1h0m0s"));
    }
}
