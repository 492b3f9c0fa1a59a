//! The flags that `service create` and `service update` share. Each one that is given replaces its
//! part of the spec; the lists, which the two commands treat differently, are in [`lists`].

mod container;
mod health;
pub mod lists;
mod policy;
mod refused;
mod resources;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use swarm_api::{
    ContainerSpec, EndpointMode, LbPolicy, LogDriver, ServiceSpec, TaskSpec, service_spec,
};

use crate::labels;

/// How a service's name resolves.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
pub enum EndpointModeFlag {
    /// To one address, balanced over the tasks
    Vip,
    /// To the addresses of all tasks
    Dnsrr,
}

/// Flags of both commands.
#[derive(Args, Debug, Default, PartialEq)]
pub struct SharedFlags {
    #[command(flatten)]
    container: container::ContainerFlags,
    #[command(flatten)]
    health: health::HealthFlags,
    #[command(flatten)]
    resources: resources::ResourceFlags,
    #[command(flatten)]
    restart: policy::RestartFlags,
    #[command(flatten)]
    update: policy::RolloutFlags,
    #[command(flatten)]
    rollback: policy::RollbackPolicyFlags,
    #[command(flatten)]
    refused: refused::RefusedFlags,
    /// Number of tasks
    #[arg(long, value_name = "N")]
    pub replicas: Option<u64>,
    /// Most tasks on one node; 0 is no limit
    #[arg(long, value_name = "N")]
    replicas_max_per_node: Option<u64>,
    /// How the service's name resolves
    #[arg(long, value_enum)]
    endpoint_mode: Option<EndpointModeFlag>,
    /// Which task gets a new connection: round-robin (default), random or source-hash
    #[arg(long, value_name = "POLICY", value_parser = lb_policy)]
    lb_policy: Option<LbPolicy>,
    /// Silence after which a TCP connection to the service is reset, as 2h30m; 0 is the default,
    /// five days
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    idle_timeout: Option<Duration>,
    /// Log driver
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Option of the log driver; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// Let every node look the image up by itself
    #[arg(long)]
    pub no_resolve_image: bool,
    /// Do not wait until the tasks run
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    detach: Option<bool>,
    /// Wait without showing progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl SharedFlags {
    /// Whether to return at once.
    pub fn is_detached(&self) -> bool {
        self.detach.unwrap_or(false)
    }

    /// Whether none of the flags changes a spec.
    pub fn is_only_about_waiting(&self) -> bool {
        *self == SharedFlags { detach: self.detach, quiet: self.quiet, ..SharedFlags::default() }
    }

    /// Writes the given flags into `spec`.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<()> {
        self.refused.check()?;
        self.apply_mode(spec)?;
        let task = task_of(spec);
        self.resources.apply(task);
        self.restart.apply(task);
        if let Some(driver) = &self.log_driver {
            let options = labels::parse(&self.log_opt)?;
            task.log_driver = Some(LogDriver { name: driver.clone(), options });
        } else if !self.log_opt.is_empty() {
            bail!("--log-opt needs --log-driver");
        }
        let container = container_of(task);
        self.container.apply(container)?;
        self.health.apply(container)?;
        self.update.apply(&mut spec.update);
        self.rollback.apply(&mut spec.rollback);
        if let Some(mode) = self.endpoint_mode {
            let mode = match mode {
                EndpointModeFlag::Vip => EndpointMode::Vip,
                EndpointModeFlag::Dnsrr => EndpointMode::Dnsrr,
            };
            spec.endpoint.get_or_insert_default().mode = mode.into();
        }
        if let Some(policy) = self.lb_policy {
            spec.endpoint.get_or_insert_default().lb_policy = policy.into();
        }
        if let Some(idle) = self.idle_timeout {
            let idle = Some(idle).filter(|idle| !idle.is_zero()).map(swarm_api::time::to_proto);
            spec.endpoint.get_or_insert_default().idle_timeout = idle;
        }
        Ok(())
    }

    fn apply_mode(&self, spec: &mut ServiceSpec) -> Result<()> {
        let replicated = match &mut spec.mode {
            Some(service_spec::Mode::Replicated(replicated)) => Some(replicated),
            _ => None,
        };
        match (self.replicas, replicated) {
            (Some(wanted), Some(replicated)) => replicated.replicas = wanted,
            (Some(_), None) => bail!("replicas can only be used with replicated mode"),
            (None, _) => {}
        }
        let Some(most) = self.replicas_max_per_node else { return Ok(()) };
        if !matches!(spec.mode, Some(service_spec::Mode::Replicated(_))) {
            bail!("replicas-max-per-node can only be used with replicated mode");
        }
        task_of(spec).placement.get_or_insert_default().max_replicas = most;
        Ok(())
    }
}

/// A value of `--lb-policy`.
fn lb_policy(text: &str) -> Result<LbPolicy> {
    match text {
        "round-robin" => Ok(LbPolicy::RoundRobin),
        "random" => Ok(LbPolicy::Random),
        "source-hash" => Ok(LbPolicy::SourceHash),
        "least-conn" => bail!(
            "least-conn is not built: the kernel's packet filter, which shares connections out, \
             does not count them by backend; use round-robin, random or source-hash"
        ),
        _ => bail!("want round-robin, random or source-hash"),
    }
}

/// The spec's task, made if missing.
pub fn task_of(spec: &mut ServiceSpec) -> &mut TaskSpec {
    spec.task.get_or_insert_default()
}

/// The task's container, made if missing.
pub fn container_of(task: &mut TaskSpec) -> &mut ContainerSpec {
    task.container.get_or_insert_default()
}

#[cfg(test)]
mod tests;
