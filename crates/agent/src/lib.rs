//! The agent of a node: keeps a session with the managers, runs the tasks they assign in the embedded engine, makes the node's
//! networks equal to the assignments, reports back. Everything on the node goes on when no manager answers.
//!
//! It decides nothing about the cluster: restarts, placement and addresses are the managers'. Called by `node`.
//!
//! - [`session`](mod@session): the line to the managers; [`assignment`]: what came over it.
//! - [`worker`]: one [`task`] actor per task, each driving a [`controller`] by the rules of [`step`].
//! - [`container`]: the controller on engine and data plane; [`fetch`]: images onto this node.
//! - [`networks`], [`plan`]: kernel and resolver from assignments.
//! - [`report`], [`ledger`]: statuses up to the managers, and on disk for a restart.
//! - [`logs`]: container logs on request; `*_service`: what the node itself answers.
#![forbid(unsafe_code)]

mod agent;
pub mod assignment;
pub mod container;
pub mod controller;
pub mod describe;
pub mod drain;
pub mod fetch;
pub mod image_service;
pub mod ledger;
mod local_network;
mod logs;
pub mod networks;
mod peer_service;
pub mod plan;
pub mod report;
pub mod session;
pub mod step;
pub mod task;
mod volume_service;
pub mod worker;

pub use agent::{Agent, AgentConfig, AgentError, remove_containers};
pub use describe::NodeFacts;
pub use image_service::ImageService;
pub use peer_service::PeerService;
pub use volume_service::VolumeService;
