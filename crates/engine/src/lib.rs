//! The container engine of one node: containers, images, volumes, logs, exec and health.
//!
//! It knows nothing of clusters and imports none of the other crates of this workspace. The agent
//! uses it inside the daemon; `swarmd-shim` (a binary of this crate) is the small process that
//! outlives the daemon beside each container.

pub mod cgroup;
mod engine;
mod error;
pub mod image;
pub mod log;
pub mod plan;
pub mod profile;
pub mod shim;
pub mod spec;
mod state;
pub mod ulimit;
pub mod volume;
pub mod wire;

pub use engine::{Engine, EngineConfig, Rootfs, STOP_GRACE};
pub use error::EngineError;
pub use log::{LogLine, LogOptions, LogStream};
pub use spec::*;
pub use state::{Container, ContainerState, ExitStatus, HealthState, Phase};
