//! Why a request was refused, and as which gRPC status the caller learns it.
//!
//! One line each, in words that say what to do. Every service of this crate answers with it.

use swarm_raft_store::{ResolveError, StoreError};
use tonic::Status;

/// What a caller is told while no manager leads.
pub const NO_LEADER: &str = "the swarm does not have a leader: it is possible that too few \
     managers are online; make sure more than half of the managers are online";

/// A refused request; variants by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request itself is wrong: correct it.
    #[error("{0}")]
    Invalid(String),
    /// What it names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken: choose another.
    #[error("{0}")]
    Taken(String),
    /// The state of something else forbids it: change that first.
    #[error("{0}")]
    Conflict(String),
    /// Not built yet.
    #[error("{0}")]
    NotBuilt(String),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(String),
    /// Too often: wait.
    #[error("{0}")]
    TooOften(String),
    /// No leader, no quorum, or a peer out of reach: try again.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
    /// The store's own word.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ResolveError> for Refusal {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound { .. } => Self::NotFound(error.to_string()),
            ResolveError::Ambiguous { .. } => Self::Invalid(error.to_string()),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) => Self::invalid_argument(text),
            Refusal::NotFound(_) => Self::not_found(text),
            Refusal::Taken(_) => Self::already_exists(text),
            Refusal::Conflict(_) => Self::failed_precondition(text),
            Refusal::NotBuilt(_) => Self::unimplemented(text),
            Refusal::Denied(_) => Self::permission_denied(text),
            Refusal::TooOften(_) => Self::resource_exhausted(text),
            Refusal::Unavailable(_) => Self::unavailable(text),
            Refusal::Internal(_) => Self::internal(text),
            Refusal::Store(error) => status_of_store(&error, text),
        }
    }
}

fn status_of_store(error: &StoreError, text: String) -> Status {
    match error {
        StoreError::AlreadyExists { .. } | StoreError::Duplicate { .. } => {
            Status::already_exists(text)
        }
        StoreError::NotFound { .. } => Status::not_found(text),
        StoreError::OutOfSequence { .. } => Status::aborted(text),
        StoreError::NotLeader { .. } => Status::unavailable(NO_LEADER),
        StoreError::TooLarge { .. } => Status::resource_exhausted(text),
        StoreError::Invalid { .. } => Status::invalid_argument(text),
        StoreError::Refused(_) => Status::failed_precondition(text),
        StoreError::Fatal(_) => Status::internal(text),
        StoreError::NoQuorum { .. } | StoreError::Timeout { .. } => Status::unavailable(text),
    }
}
