//! Identity: the cluster's root, join tokens, node certificates, and the TLS 1.3 settings and channels made of them.
//!
//! It stores nothing but a node's own identity and decides no membership: managers say who gets a certificate (`manager`),
//! nodes ask for theirs (`node`). Called by both.
#![forbid(unsafe_code)]

mod caller;
mod connection;
mod credentials;
mod error;
mod identity;
mod join;
mod lock;
mod recovery;
mod register;
mod root;
#[cfg(test)]
mod tests;
mod token;
mod trust;

pub use caller::{Caller, caller_of};
pub use connection::{Connection, LocalConnection};
pub use credentials::Credentials;
pub use error::CaError;
pub use identity::{Identity, Kept, Nameplate, new_csr};
pub use join::{anonymous_channel, fetch_root};
pub use lock::{KeyTextError, RecoveryKey, UnlockKey, WrapKey, WrongKey};
pub use recovery::{Claim, check as check_recovery, prove as prove_recovery, recovery_channel};
pub use root::{BACKDATE, Root};
pub use token::{JoinToken, TokenError};
pub use trust::MAX_SKEW;
