//! The plan: a container with everything resolved that can be resolved outside of its root file
//! system. The engine writes it, the shim carries it out. Contents of secrets are not part of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::{NetworkMode, Propagation, Resources, Ulimit};

/// What the shim is told to build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub id: String,
    /// For messages.
    pub name: String,
    /// Image layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// The container's persistent directory: `upper`, `work`, `hosts`, `hostname`, `resolv.conf`.
    pub dir: PathBuf,
    /// Where compiled seccomp filters are kept.
    pub filters: PathBuf,
    /// Absolute path within each cgroup hierarchy.
    pub cgroup: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub workdir: String,
    pub user: String,
    pub groups: Vec<String>,
    pub hostname: String,
    pub domainname: Option<String>,
    pub mounts: Vec<PlanMount>,
    pub network: NetworkMode,
    pub resources: Resources,
    /// `CAP_…` names the container keeps.
    pub capabilities: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    pub read_only: bool,
    pub init: bool,
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    pub shm_size: u64,
}

/// A mount with its source known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PlanMount {
    Bind {
        source: PathBuf,
        target: PathBuf,
        read_only: bool,
        propagation: Propagation,
        recursive: bool,
        /// Fill the source from the image's content at the target while it is empty.
        copy_up: bool,
    },
    Tmpfs {
        target: PathBuf,
        size: Option<u64>,
        mode: u32,
    },
}

impl PlanMount {
    /// Where it appears in the container.
    pub fn target(&self) -> &PathBuf {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// Header of one secret file on the shim's standard input, followed by `len` bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileHeader {
    pub target: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub len: usize,
}

/// The shim's one-line answer on its standard output once the container is set up.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    Created {
        pid: i32,
    },
    /// `code` is 126 or 127 when the command itself is at fault, else 0.
    Failed {
        message: String,
        code: i32,
    },
}

/// File names shared by the engine and the shim, relative to the run or persistent directory.
pub mod file {
    /// In the run directory: the shim's socket.
    pub const SOCKET: &str = "shim.sock";
    /// In the run directory: pid of the main process, and start time once started.
    pub const STARTED: &str = "started";
    /// In the run directory: the container's main process.
    pub const PID: &str = "pid";
    /// In the persistent directory: the plan.
    pub const PLAN: &str = "plan.json";
    /// In the persistent directory: the exit status, written once, atomically.
    pub const EXIT: &str = "exit.json";
    /// In the persistent directory: the engine's record.
    pub const RECORD: &str = "record.json";
    /// In the persistent directory: the log segments.
    pub const LOG: &str = "log";
}
