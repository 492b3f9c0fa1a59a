//! The leader's life by itself, for tests that run managers by seed: on any replica, without
//! listeners and certificates. Used by `tests/sim`; compiled only with the feature of this name.

pub use crate::lead::Lead;
pub use crate::seat::{Leading, Seat};
