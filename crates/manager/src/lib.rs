//! The managers' part: the door (control), the passes (reconcile), the agents' side (dispatch), identity, membership, and
//! the leader's life around them.
//!
//! It knows neither containers nor networks of the kernel: agents do. The node crate mounts [`reconcile`]'s neighbours on
//! its listeners.
#![forbid(unsafe_code)]

pub mod address_book;
pub mod authorize;
pub mod backup;
pub mod ca_service;
pub mod clock;
pub mod control;
pub mod custody;
pub mod dispatch;
pub mod logs;
pub mod manager;
pub mod quorum;
pub mod reconcile;
pub mod recovery;
pub mod refusal;
pub mod watch_service;
pub mod whereabouts;

mod budget;
mod dispatcher_front;
mod doorkeeper;
mod lead;
mod membership;
mod object_id;
mod obstacle;
mod peers;
mod proxy;
mod raft_service;
mod rotation;
mod seat;
mod seed;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot_service;
mod spare;

pub use manager::{Keeping, Manager, ManagerConfig, ManagerError, Mode};
pub use seed::ClusterSeed;
pub use swarm_raft_store::{DataKeys, Member as ManagerMember, Removal, View, quorum as quorum_of};
