//! Where the leader sits, as the rest of this manager sees it: nowhere, elsewhere, or here with everything started.
//!
//! Written by `lead` only. A seat carries the token of its term: whatever was begun under it ends with it.

use std::sync::Arc;

use swarm_raft_store::Member;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatcher;
use crate::logs::Broker;

/// What only a leader has. Made anew each time that leadership is won.
pub struct Leading {
    /// Agents' sessions and assignments.
    pub dispatcher: Dispatcher,
    /// Log subscriptions.
    pub broker: Broker,
}

/// The leader's seat.
#[derive(Clone)]
pub enum Seat {
    /// No leader is known, or this manager has won but is not ready yet.
    Vacant,
    /// Another manager leads.
    Elsewhere {
        /// Who.
        leader: Member,
        /// Ends when the seat changes.
        term: CancellationToken,
    },
    /// This manager leads.
    Here {
        /// What it leads with.
        leading: Arc<Leading>,
        /// Ends when the seat changes.
        term: CancellationToken,
    },
}

impl Seat {
    /// Whether somebody sits on it.
    pub fn is_taken(&self) -> bool {
        !matches!(self, Self::Vacant)
    }

    /// The present leader's parts, if it is this manager.
    pub fn leading(&self) -> Option<&Arc<Leading>> {
        match self {
            Self::Here { leading, .. } => Some(leading),
            _ => None,
        }
    }
}

/// Follows the seat.
pub type Seats = watch::Receiver<Seat>;
