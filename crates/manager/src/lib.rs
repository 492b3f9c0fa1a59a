//! The managers' part: the door (control), the passes (reconcile), the agents' side (dispatch), identity, membership, and
//! the leader's life around them.
//!
//! It knows neither containers nor networks of the kernel: agents do. The node crate mounts [`reconcile`]'s neighbours on
//! its listeners.
#![forbid(unsafe_code)]

pub mod dispatch;
pub mod reconcile;
