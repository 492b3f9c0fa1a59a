//! The connections that were accepted and are open, so that those of a caller who is refused from now on can be ended: a
//! certificate that is looked at only when a connection begins would outlive its removal on it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rustls_pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::Caller;

/// All open connections of a listener. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Known>,
}

struct Known {
    caller: Caller,
    /// As shown, leaf first; empty without certificate.
    chain: Vec<CertificateDer<'static>>,
    end: CancellationToken,
}

/// A connection's place in the register, given up when dropped.
pub(crate) struct Entry {
    register: Register,
    number: u64,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Register {
    /// Notes a connection.
    pub fn enter(&self, caller: Caller, chain: Vec<CertificateDer<'static>>) -> Entry {
        let end = CancellationToken::new();
        let number = self.with(|open| {
            open.next += 1;
            let known = Known { caller, chain, end: end.clone() };
            open.connections.insert(open.next, known);
            open.next
        });
        Entry { register: self.clone(), number, end: Box::pin(end.cancelled_owned()) }
    }

    /// Ends those that are `unwanted`. Tells how many.
    pub fn close(&self, unwanted: impl Fn(&Caller, &[CertificateDer<'static>]) -> bool) -> usize {
        self.with(|open| {
            let all = open.connections.values();
            let ended = all.filter(|known| unwanted(&known.caller, &known.chain));
            ended.map(|known| known.end.cancel()).count()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> T) -> T {
        // What is guarded is whole between any two statements.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    /// Ready once the connection is to end.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end.as_mut().poll(cx)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.register.with(|open| open.connections.remove(&self.number));
    }
}
