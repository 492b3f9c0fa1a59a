//! The cluster's memory: typed tables that every manager holds in memory, changed only by
//! transactions that Raft has replicated, and kept on disk by a log and snapshots that are
//! checksummed and sealed.
//!
//! It decides nothing about what is stored: callers (the manager's door and its passes) do, on an
//! immutable [`View`], inside [`Store::transact`]. It opens no sockets: a [`Transport`] is passed
//! in. It is the only crate that names the consensus library and the databases under it.
#![forbid(unsafe_code)]

mod apply;
mod archive;
mod backend;
mod batch;
mod command;
mod committer;
mod consensus;
mod error;
mod ground;
mod keys;
mod member;
mod membership;
mod quorum;
mod raft;
mod record;
mod replica;
mod rescue;
mod seal;
mod selector;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod store;
mod subscription;
mod transaction;
mod transport;
mod view;

pub use archive::{ArchiveCover, ArchiveError, archive_key_id, read_archive, write_archive};
pub use backend::Backend;
pub use error::{ResolveError, StoreError};
pub use keys::{DATA_KEY_BYTES, DataKeys};
pub use member::{Leadership, Member, MemberState};
pub use quorum::{Removal, quorum};
pub use raft::snapshot::CHUNK_BYTES;
pub use replica::{Replica, ReplicaConfig};
pub use rescue::{Remains, amend, found};
pub use selector::Selector;
pub use store::{MAX_COMMAND_BYTES, Store};
pub use subscription::{Action, Change, Commit, Lagged, Subscription};
pub use transaction::Transaction;
pub use transport::{ChunkStream, RaftRpc, Transport, TransportError};
pub use view::View;
