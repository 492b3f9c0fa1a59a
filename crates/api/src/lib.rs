//! The one vocabulary of the cluster: the messages of `proto/` as they are stored, replicated and dispatched, and the verbs
//! of the domain on them (ids, ordered states, constraints, image references, ports, sizes).
//!
//! It decides nothing and does no I/O. Everything else imports it; it imports none of our crates.
#![forbid(unsafe_code)]

mod redact;
mod standing;

pub mod constraint;
pub mod duration;
pub mod id;
pub mod image;
pub mod kernel;
pub mod mount;
pub mod name;
pub mod object;
pub mod port;
pub mod request_id;
pub mod resource;
pub mod rpc;
pub mod size;
pub mod subnet;
pub mod template;
pub mod time;

/// Generated from `proto/`.
#[allow(clippy::all, missing_docs, rustdoc::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("swarm.v1");
}

pub use generated::*;
