//! Many hosts on one machine. Each host is a network, mount and UTS namespace with an ordinary
//! `swarmd` in it, a state folder and an address on the lab's bridge. Called by `swarmctl lab` and
//! by the end-to-end tests.
//!
//! A lab brings hosts up with `swarmd` running and no further: making a cluster of them (`init`,
//! `join`) is the caller's, over each host's control socket. Nothing in `swarmd` knows of labs.
//! Everything blocks (namespaces, child processes): async callers use a blocking thread.
//!
//! Whatever a lab makes carries the lab's name or lies in its folder, and the namespaces are pinned
//! to files there; so every later command, in another process and after any crash, finds it all
//! again. What it makes on the machine itself: one folder, one veth link, one cgroup.
//!
//! - [`labs`]: the folder of all labs: create, open, list, remove.
//! - [`lab`]: the verbs of one lab.
//! - [`layout`]: the names of all it makes; pure.
//! - [`record`]: what is remembered of a lab; pure.
//! - [`subnet`]: which addresses a new lab gets; pure.
//! - [`network`]: the bridge in a namespace of its own, cables, partitions.
//! - [`host`]: the namespaces of one host.
//! - [`daemon`]: the `swarmd` process of one host.
//! - [`removal`]: taking down whatever is left of a lab.
//! - [`cgroup`], [`mounts`], [`process`], [`lock`], [`tool`]: the machine's interfaces they use.
#![forbid(unsafe_code)]

mod cgroup;
mod daemon;
mod error;
mod host;
mod lab;
mod labs;
mod layout;
mod lock;
mod mounts;
mod network;
mod process;
mod progress;
mod record;
mod removal;
mod subnet;
mod tool;

pub use error::LabError;
pub use lab::{HostState, HostStatus, Lab};
pub use labs::{LabOptions, Labs, ROOT_VARIABLE};
pub use lock::Held;
pub use progress::{Progress, Step};
pub use record::{HostRecord, Role};
