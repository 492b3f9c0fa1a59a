//! What end-to-end tests are written with: clusters in a lab, commands as a user gives them, waiting on conditions.
//!
//! A cluster is removed with everything it made when it goes out of scope, also when its test fails.
#![forbid(unsafe_code)]

mod cluster;
mod command;
mod http;
mod image;
mod wait;

pub use cluster::Cluster;
pub use command::{Outcome, binary};
pub use http::get;
pub use image::busybox;
pub use wait::{eventually, eventually_within};
