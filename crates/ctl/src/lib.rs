//! `swarmctl`, the command line of the cluster: flags become one request, its answer becomes a
//! table or JSON.
//!
//! One folder per noun, one file per verb. It keeps no state and decides nothing that a manager
//! could decide.
#![forbid(unsafe_code)]

mod age;
mod cli;
mod client;
mod cluster;
mod config;
pub mod failure;
mod filter;
mod image;
mod input;
mod inspect;
mod lab;
mod labels;
mod listing;
mod network;
mod node;
mod order;
mod output;
mod progress;
mod secret;
mod service;
mod shape;
mod stack;
mod table;
mod tasks;
mod template;
mod volume;

pub use cli::{Cli, run};
