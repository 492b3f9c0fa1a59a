//! The container engine of one node: containers, images, volumes, logs, exec and health.
//!
//! It knows nothing of clusters and imports none of the other crates of this workspace. The agent
//! uses it inside the daemon; `swarmd-shim` (a binary of this crate) is the small process that
//! outlives the daemon beside each container.

pub mod image;
