//! How replicas reach each other: implemented by the manager over mutually authenticated gRPC, and
//! in memory by tests.

use std::pin::Pin;

use tokio_stream::Stream;

use crate::Member;

/// Which call a body belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRpc {
    /// Log entries or a heartbeat.
    Append,
    /// A request for a vote.
    Vote,
    /// The leader asks the target to take over.
    TransferLeader,
}

/// A snapshot on its way, in order; each chunk is at most [`crate::CHUNK_BYTES`] plus a small
/// frame.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, TransportError>> + Send>>;

/// Why a call between replicas failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The target could not be reached; another try soon is pointless.
    #[error("cannot reach manager {addr}: {reason}")]
    Unreachable {
        /// Address of the target.
        addr: String,
        /// Why.
        reason: String,
    },
    /// The target was reached but the call failed.
    #[error("manager {addr} failed the call: {reason}")]
    Failed {
        /// Address of the target.
        addr: String,
        /// Why.
        reason: String,
    },
}

/// Carries opaque bodies to other replicas. Deadlines are set by the caller: a call may be dropped
/// at any time.
pub trait Transport: Send + Sync + 'static {
    /// One call and its answer: what the target's [`crate::Replica::handle`] returned.
    fn call<'a>(
        &'a self,
        target: &'a Member,
        rpc: RaftRpc,
        body: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

    /// Streams a snapshot; the answer is what the target's [`crate::Replica::handle_snapshot`]
    /// returned.
    fn install_snapshot<'a>(
        &'a self,
        target: &'a Member,
        chunks: ChunkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;
}
