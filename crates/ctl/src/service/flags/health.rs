//! Flags about the container's health check.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{ContainerSpec, HealthConfig};

/// Shorter times are mistakes.
const SHORTEST: Duration = Duration::from_millis(1);

/// Flags of both commands.
#[derive(Args, Debug, Default, PartialEq)]
pub struct HealthFlags {
    /// Command that tells whether the container is healthy, run by a shell
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks (30s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    health_interval: Option<Duration>,
    /// How long a check may take (30s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    health_timeout: Option<Duration>,
    /// Time after the start in which failures do not count (0s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    health_start_period: Option<Duration>,
    /// Time between two checks in the start period (5s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    health_start_interval: Option<Duration>,
    /// Failures in a row that make the container unhealthy (3)
    #[arg(long, value_name = "N")]
    health_retries: Option<u32>,
    /// No health check, whatever the image says
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_healthcheck: Option<bool>,
}

impl HealthFlags {
    fn any(&self) -> bool {
        self.health_cmd.is_some() || self.health_retries.is_some() || !self.times().is_empty()
    }

    fn times(&self) -> Vec<(&'static str, Duration)> {
        let all = [
            ("--health-interval", self.health_interval),
            ("--health-timeout", self.health_timeout),
            ("--health-start-period", self.health_start_period),
            ("--health-start-interval", self.health_start_interval),
        ];
        all.into_iter().filter_map(|(name, time)| time.map(|t| (name, t))).collect()
    }

    /// Writes the given flags into `container`.
    pub fn apply(&self, container: &mut ContainerSpec) -> Result<()> {
        if self.no_healthcheck == Some(true) {
            if self.any() {
                bail!("--no-healthcheck conflicts with --health-* options");
            }
            let test = vec!["NONE".to_owned()];
            container.healthcheck = Some(HealthConfig { test, ..HealthConfig::default() });
            return Ok(());
        }
        if !self.any() {
            return Ok(());
        }
        for (name, time) in self.times() {
            // Zero means: as the image says.
            if time < SHORTEST && !time.is_zero() {
                bail!("{name} cannot be less than 1ms");
            }
        }
        let health = container.healthcheck.get_or_insert_default();
        if health.test.first().is_some_and(|t| t == "NONE") {
            health.test.clear();
        }
        if let Some(command) = &self.health_cmd {
            health.test = match command.is_empty() {
                true => Vec::new(),
                false => vec!["CMD-SHELL".into(), command.clone()],
            };
        }
        let set = |flag: Option<Duration>, field: &mut Option<prost_types::Duration>| {
            if let Some(time) = flag {
                *field = Some(swarm_api::time::to_proto(time));
            }
        };
        set(self.health_interval, &mut health.interval);
        set(self.health_timeout, &mut health.timeout);
        set(self.health_start_period, &mut health.start_period);
        set(self.health_start_interval, &mut health.start_interval);
        health.retries = self.health_retries.unwrap_or(health.retries);
        Ok(())
    }
}
