//! Container logs from any node: clients subscribe at the leader, the nodes concerned are asked over the stream that each
//! agent holds open, and publish what they have.
//!
//! Nothing is stored here. What cannot be read is told as a gap, in words; a node that is silent never holds a reader up.

mod broker;
mod listener;
mod service;
mod subscription;
#[cfg(test)]
mod tests;

pub use broker::Broker;
pub use service::{LogBrokerService, LogsService};
