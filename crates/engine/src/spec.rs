//! What a caller asks for: the container's specification. Data only; `create` turns it into a
//! plan, the shim turns the plan into a running container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Everything about one container. `Default` is a container of no image with default limits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unique on this node; empty means the first 12 characters of the id.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Id, digest or reference known to the image store.
    pub image: String,
    /// Replaces the image's entrypoint, and then also its command.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command when not empty.
    pub cmd: Vec<String>,
    /// `KEY=VALUE` sets over the image's environment; a bare `KEY` removes it.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    /// `uid[:gid]` or names, resolved in the container's `/etc/passwd` and `/etc/group`.
    pub user: Option<String>,
    /// Additional groups, names or ids.
    pub groups: Vec<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    /// Address of the container's own hostname in `/etc/hosts`.
    pub address: Option<IpAddr>,
    /// Extra lines of `/etc/hosts`.
    pub hosts: Vec<(IpAddr, String)>,
    /// Content of `/etc/resolv.conf`; the node's own when absent.
    pub resolv_conf: Option<String>,
    pub mounts: Vec<Mount>,
    /// Secrets and configs; never written to a disk and so absent from the stored record.
    #[serde(skip)]
    pub files: Vec<SecretFile>,
    pub network: NetworkMode,
    pub resources: Resources,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// Refused when true.
    pub privileged: bool,
    pub ulimits: Vec<Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    /// Mounts the root file system read-only.
    pub read_only: bool,
    /// Runs a small init as pid 1 that reaps orphans and forwards signals.
    pub init: bool,
    /// Refused when true: terminals are not built yet.
    pub tty: bool,
    /// Name or number; default is the image's, then SIGTERM.
    pub stop_signal: Option<String>,
    /// Default of `stop` callers; 10 s when absent.
    pub stop_grace: Option<Duration>,
    /// Replaces the image's health check.
    pub healthcheck: Option<Healthcheck>,
    pub oom_score_adj: Option<i32>,
    pub log: LogLimits,
    pub no_new_privileges: bool,
    /// Bytes of `/dev/shm`; 64 MiB when absent.
    pub shm_size: Option<u64>,
}

/// One mount and where it appears in the container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    pub target: PathBuf,
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of this node, which must exist.
    Bind { source: PathBuf, read_only: bool, propagation: Propagation, recursive: bool },
    /// A local volume, made when missing; an empty one is filled from the image unless `nocopy`.
    Volume { name: String, read_only: bool, nocopy: bool, labels: BTreeMap<String, String> },
    /// Memory; `size` in bytes, `mode` as permission bits (default 1777 octal).
    Tmpfs { size: Option<u64>, mode: Option<u32> },
}

/// Mount propagation of a bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    #[default]
    Rprivate,
    Private,
    Rslave,
    Slave,
    Rshared,
    Shared,
}

impl Propagation {
    /// The name as a mount option.
    pub fn option(self) -> &'static str {
        match self {
            Self::Rprivate => "rprivate",
            Self::Private => "private",
            Self::Rslave => "rslave",
            Self::Slave => "slave",
            Self::Rshared => "rshared",
            Self::Shared => "shared",
        }
    }
}

/// A secret or config: an absolute target, its owner and permission bits, its content.
#[derive(Clone)]
pub struct SecretFile {
    pub target: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub data: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile")
            .field("target", &self.target)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The network the container's processes see.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A namespace of its own with nothing but a loopback.
    #[default]
    None,
    /// The node's own network.
    Host,
    /// A namespace someone else made, by path.
    Namespace(PathBuf),
}

/// Limits; absent means the default said at each field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Billionths of a CPU; absent is unlimited.
    pub nano_cpus: Option<u64>,
    /// Relative CPU weight (cgroup v1 shares, 1024 is normal).
    pub cpu_shares: Option<u64>,
    pub cpuset_cpus: Option<String>,
    /// Bytes; absent is unlimited.
    pub memory: Option<u64>,
    /// Bytes of memory the kernel tries to leave to this container under pressure.
    pub memory_reservation: Option<u64>,
    /// Memory plus swap in bytes, -1 unlimited; absent is twice `memory`.
    pub memory_swap: Option<i64>,
    /// Processes and threads; absent is 4096, -1 unlimited.
    pub pids: Option<i64>,
}

/// One resource limit by its short name (`nofile`, `nproc`, …).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// How much log is kept: `max_files` files of `max_size` bytes each.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LogLimits {
    pub max_size: u64,
    pub max_files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_size: 10 << 20, max_files: 3 }
    }
}

impl From<&crate::image::Healthcheck> for Healthcheck {
    fn from(image: &crate::image::Healthcheck) -> Self {
        let time = |nanos: i64| u64::try_from(nanos).ok().filter(|n| *n > 0);
        Self {
            test: image.test.clone(),
            interval: time(image.interval).map(Duration::from_nanos),
            timeout: time(image.timeout).map(Duration::from_nanos),
            start_period: time(image.start_period).map(Duration::from_nanos),
            start_interval: time(image.start_interval).map(Duration::from_nanos),
            retries: u32::try_from(image.retries).ok().filter(|n| *n > 0),
        }
    }
}

/// A health check as images and services state it; absent times take Docker's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args…]` or `["CMD-SHELL", line]`; empty inherits the image's.
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub retries: Option<u32>,
}

/// A command run inside a running container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    pub cmd: Vec<String>,
    /// Added to the container's own environment.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    /// As in [`ContainerSpec::user`]; absent is the container's own.
    pub user: Option<String>,
    /// The command is killed after this time; absent waits for ever.
    pub timeout: Option<Duration>,
    /// Bytes of output kept, the rest is read and dropped; 0 means 64 KiB.
    pub max_output: usize,
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// Exit code, 128 + signal when killed.
    pub code: i32,
    /// Standard output and error, in the order they came.
    pub output: Vec<u8>,
    pub timed_out: bool,
}

/// What `remove` does with the volumes only this container used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveVolumes {
    Keep,
    /// Remove the anonymous ones (made for the image's `VOLUME` lines).
    Anonymous,
}
