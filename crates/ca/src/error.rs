//! What can go wrong with identities, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

/// An identity problem.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A certificate, key or request that cannot be read or signed: fix the input.
    #[error("{what}: {reason}")]
    Malformed {
        /// What was read or made.
        what: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// The root's key is not here: ask a manager.
    #[error("this node does not hold the root's key")]
    NoKey,
    /// The node's key is wrapped under an unlock key: ask for that.
    #[error("the node's key is locked")]
    Locked,
    /// The remote's root is not the one that the token names: wrong address or wrong token.
    #[error(
        "the root certificate of {addr} does not match the join token (token {wanted}, remote \
         {found}): check the address, and take a fresh token with join-token"
    )]
    WrongRoot {
        /// Who answered.
        addr: String,
        /// Digest in the token.
        wanted: String,
        /// Digest of what was shown.
        found: String,
    },
    /// The remote did not answer: check address and network, then try again.
    #[error("cannot reach {addr}: {reason}")]
    Unreachable {
        /// Who was asked.
        addr: String,
        /// Why it failed.
        reason: String,
    },
    /// The remote refused or broke the handshake.
    #[error("tls handshake: {0}")]
    Handshake(String),
    /// A file of the identity.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CaError {
    pub(crate) fn malformed(what: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { what, reason: reason.to_string() }
    }
}
