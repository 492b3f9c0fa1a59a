//! `swarmctl update`: settings of the cluster. `init` takes the same ones.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{AutoSnapshots, ClusterSpec, UpdateClusterRequest, duration};

use super::join_token::cluster;
use super::unlock_key;
use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::output;

/// Below this, nodes would do little else than renew; above it, certificates could outlive their root.
const EXPIRY_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(10 * 365 * 24 * 3600);

/// The managers' own values, for when only one of them is changed.
const AUTO_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(6 * 3600);
const AUTO_SNAPSHOT_KEEP: u32 = 8;

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
    /// Managers that shall answer: one that is lost is replaced by a node labelled
    /// swarm.spare-manager=true (0: off)
    #[arg(long, value_name = "N")]
    spare_managers: Option<u64>,
    /// How long a manager must be lost before it is replaced (10m)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    spare_after: Option<Duration>,
    #[arg(long, hide = true)]
    snapshot_interval: Option<u64>,
    /// Whether managers need the unlock key when they start
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    autolock: Option<bool>,
    /// How often each manager keeps a snapshot in its own folder; 0 for never (6h)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    auto_snapshot_interval: Option<Duration>,
    /// How many of them it keeps (8)
    #[arg(long, value_name = "N")]
    auto_snapshot_keep: Option<u32>,
    #[arg(long, hide = true)]
    max_snapshots: Option<u64>,
    #[arg(long, hide = true)]
    external_ca: Vec<String>,
}

impl SpecFlags {
    /// Refuses what is out of range or not built.
    pub fn check(&self) -> Result<()> {
        refuse("--snapshot-interval", self.snapshot_interval.is_some())?;
        refuse("--max-snapshots", self.max_snapshots.is_some())?;
        refuse("--external-ca", !self.external_ca.is_empty())?;
        self.cert_expiry.map_or(Ok(()), check_expiry)
    }

    /// Changes how long certificates last, and nothing else.
    pub fn of_expiry(expiry: Duration) -> Self {
        Self { cert_expiry: Some(expiry), ..Self::default() }
    }

    /// Whether any setting is given.
    pub fn changes_something(&self) -> bool {
        self.task_history_limit.is_some()
            || self.dispatcher_heartbeat.is_some()
            || self.cert_expiry.is_some()
            || self.autolock.is_some()
            || self.auto_snapshot_interval.is_some()
            || self.auto_snapshot_keep.is_some()
            || self.spare_managers.is_some()
            || self.spare_after.is_some()
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
        if let Some(autolock) = self.autolock {
            spec.autolock = autolock;
        }
        if let Some(managers) = self.spare_managers {
            spec.spare_managers = managers;
        }
        if let Some(after) = self.spare_after {
            spec.spare_after = Some(swarm_api::time::to_proto(after));
        }
        if self.auto_snapshot_interval.is_none() && self.auto_snapshot_keep.is_none() {
            return;
        }
        let settings = spec.auto_snapshots.get_or_insert_with(|| AutoSnapshots {
            interval: Some(swarm_api::time::to_proto(AUTO_SNAPSHOT_INTERVAL)),
            keep: AUTO_SNAPSHOT_KEEP,
        });
        if let Some(interval) = self.auto_snapshot_interval {
            settings.interval = Some(swarm_api::time::to_proto(interval));
        }
        if let Some(keep) = self.auto_snapshot_keep {
            settings.keep = keep;
        }
    }

    /// Writes the settings into the cluster. Tells whether autolock was turned on by it.
    pub async fn apply(&self, client: &Client) -> Result<bool> {
        let cluster = cluster(client).await?;
        let mut spec = cluster.spec.unwrap_or_default();
        let before = spec.autolock;
        self.edit(&mut spec);
        let locks = spec.autolock && !before;
        let request = UpdateClusterRequest {
            version: cluster.meta.and_then(|m| m.version),
            spec: Some(spec),
            ..UpdateClusterRequest::default()
        };
        ask!(client, update_cluster, request).map(|_| locks)
    }
}

/// Refuses a life that certificates cannot have.
pub fn check_expiry(expiry: Duration) -> Result<()> {
    if EXPIRY_RANGE.contains(&expiry) {
        return Ok(());
    }
    bail!(
        "--cert-expiry {}: minimum certificate expiry time is: {}, maximum: {}",
        duration::format(expiry),
        duration::format(*EXPIRY_RANGE.start()),
        duration::format(*EXPIRY_RANGE.end())
    )
}

/// Flags of `update`.
#[derive(Args, Debug)]
pub struct UpdateFlags {
    #[command(flatten)]
    spec: SpecFlags,
    /// Seal every manager's store under a new key of its own, without a restart
    #[arg(long)]
    rotate_data_keys: bool,
}

impl UpdateFlags {
    /// Changes the settings.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.spec.check()?;
        if !self.spec.changes_something() && !self.rotate_data_keys {
            bail!("nothing to update: give at least one flag (see 'swarmctl update --help')");
        }
        let locks = self.spec.changes_something() && self.spec.apply(client).await?;
        if self.rotate_data_keys {
            let rotate = |request| UpdateClusterRequest { rotate_data_key: true, ..request };
            unlock_key::change(client, rotate).await?;
        }
        output::line("Swarm updated.")?;
        match locks {
            true => unlock_key::show(client).await,
            false => Ok(()),
        }
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
    fn one_setting_of_automatic_snapshots_leaves_the_other() {
        let flags = SpecFlags { auto_snapshot_keep: Some(3), ..SpecFlags::default() };
        let mut spec = ClusterSpec::default();
        flags.edit(&mut spec);
        let settings = spec.auto_snapshots.unwrap();
        assert_eq!((settings.keep, settings.interval.unwrap().seconds), (3, 6 * 3600));
    }

    #[test]
    fn settings_that_are_not_built_are_refused_by_name() {
        let flags = SpecFlags { snapshot_interval: Some(9), ..SpecFlags::default() };
        assert!(flags.check().unwrap_err().to_string().starts_with("--snapshot-interval is not"));
        let short = SpecFlags { cert_expiry: Some(Duration::from_secs(9)), ..SpecFlags::default() };
        assert!(short.check().unwrap_err().to_string().contains("time is: 1h0m0s, maximum: 876"));
    }
}
