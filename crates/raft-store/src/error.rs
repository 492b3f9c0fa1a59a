//! What can go wrong, by what the caller can do about it.

use std::time::Duration;

use crate::Member;

/// Why a read, a transaction or a membership change was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// Another object of this kind has the id or the name.
    #[error("{kind} {name} already exists")]
    AlreadyExists {
        /// Kind in words.
        kind: &'static str,
        /// The name (or id) that is taken.
        name: String,
    },
    /// No object of this kind has the id.
    #[error("{kind} {id} not found")]
    NotFound {
        /// Kind in words.
        kind: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The object was changed since it was read: read again and retry.
    #[error("{kind} {id}: update out of sequence: based on version {have}, now at version {want}")]
    OutOfSequence {
        /// Kind in words.
        kind: &'static str,
        /// Id of the object.
        id: String,
        /// Version that the update was based on.
        have: u64,
        /// Version that is stored.
        want: u64,
    },
    /// An object that cannot be stored.
    #[error("cannot store {kind}: {reason}")]
    Invalid {
        /// Kind in words.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A request with this id was applied before; nothing was done again.
    #[error("request {request_id} was already applied at version {version}")]
    Duplicate {
        /// Id of the request.
        request_id: String,
        /// Version at which it was applied.
        version: u64,
    },
    /// Split the transaction.
    #[error("transaction of {size} bytes is too large (at most {limit} bytes)")]
    TooLarge {
        /// Encoded size, bytes.
        size: usize,
        /// Largest accepted, bytes.
        limit: usize,
    },
    /// Only the leader can do this: go there.
    #[error("this manager is not the leader{}", leader.as_ref().map_or_else(
        || " (no leader is known)".to_owned(),
        |l| format!(" (the leader is {} at {})", l.node_id, l.addr),
    ))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<Member>,
    },
    /// A majority of the managers does not answer. Nothing was changed.
    #[error("no quorum: {reason}")]
    NoQuorum {
        /// Who is missing.
        reason: String,
    },
    /// No majority confirmed the write in time; it may still be applied later. Retry with the same
    /// request id.
    #[error(
        "no confirmation from a majority of the managers within {:.1} s; \
         the change may still be applied",
        waited.as_secs_f64()
    )]
    Timeout {
        /// How long it waited.
        waited: Duration,
    },
    /// Refused because of the membership as it stands; the message says what to do.
    #[error("{0}")]
    Refused(String),
    /// The replica cannot go on: storage is damaged or its core has died. The node must stop.
    #[error("the store has failed: {0}")]
    Fatal(String),
}

/// Why a reference (id, name or id prefix) names no single object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing matches.
    #[error("{kind} {reference} not found")]
    NotFound {
        /// Kind in words.
        kind: &'static str,
        /// As given by the user.
        reference: String,
    },
    /// Several match.
    #[error("{kind} {reference} is ambiguous ({matches} matches found)")]
    Ambiguous {
        /// Kind in words.
        kind: &'static str,
        /// As given by the user.
        reference: String,
        /// How many match.
        matches: usize,
    },
}
