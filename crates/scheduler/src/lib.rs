//! Pure placement: which node each task goes to, or in words why none takes it.
//!
//! It has no clock and does no I/O: the same cluster and the same groups give the same decisions. It chooses
//! neither addresses nor ports, and it changes no object. Called by the manager's reconciler.
#![forbid(unsafe_code)]

mod cluster;
mod demand;
mod filter;
mod place;
mod spread;

pub use cluster::{ClusterView, NodeInfo};
pub use demand::Demand;
pub use place::{Candidate, Decision, Group, Outcome, place};
