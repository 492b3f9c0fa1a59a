//! What end-to-end tests are written with: clusters in a lab, commands as a user gives them, waiting on conditions.
//!
//! A cluster is removed with everything it made when it goes out of scope, also when its test fails.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test states its expectations so")]

mod cluster;
mod command;
mod container;
mod http;
mod image;
mod registry;
mod shell;
mod tasks;
mod wait;

pub use cluster::Cluster;
pub use command::{Outcome, binary};
pub use container::Container;
pub use http::get;
pub use image::busybox;
pub use registry::{REGISTRY, Registry};
pub use tasks::TaskRow;
pub use wait::{eventually, eventually_within};
