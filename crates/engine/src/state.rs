//! What the engine knows of a container: its stored record, its phase and its exit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::spec::ContainerSpec;

/// A container's identity, as `create` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Set up, waiting to be started.
    Created,
    /// Its main process runs.
    Running,
    /// Its main process ended.
    Exited(ExitStatus),
}

impl Phase {
    /// The word Docker uses for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited(_) => "exited",
        }
    }
}

/// How a container's main process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code; 128 + signal when killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since 1970.
    pub finished_at: u64,
    /// Why the engine itself had to write this status (a lost shim, a rebooted node).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What health checks say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// No health check.
    #[default]
    None,
    /// Not passed yet, within the start period or the retries.
    Starting,
    Healthy,
    Unhealthy,
}

/// A snapshot of one container.
#[derive(Debug, Clone)]
pub struct ContainerState {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// As asked for; its `files` are empty.
    pub spec: ContainerSpec,
    /// Id of the image it runs.
    pub image_id: String,
    pub phase: Phase,
    /// Host pid of the main process while created or running.
    pub pid: Option<i32>,
    /// Nanoseconds since 1970.
    pub created_at: u64,
    /// Nanoseconds since 1970, absent before the start.
    pub started_at: Option<u64>,
    pub health: HealthState,
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// What is stored per container (`record.json`); everything needed to adopt it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    pub name: String,
    pub created_at: u64,
    pub image_id: String,
    pub spec: ContainerSpec,
    pub plan: Plan,
    /// The container had secret files or configs, which are gone once its shim is.
    pub has_files: bool,
    /// Names of volumes made for this container alone.
    pub anonymous_volumes: Vec<String>,
    /// The health check in force: the caller's, else the image's.
    pub healthcheck: Option<crate::spec::Healthcheck>,
    /// The stop signal in force.
    pub stop_signal: i32,
}
