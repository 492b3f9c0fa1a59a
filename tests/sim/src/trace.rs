//! All that happened in a run, as lines: counted, hashed, the last of them kept for whoever must
//! find out why.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Lines shown when a law is broken.
const KEPT: usize = 60;

/// What was noted so far.
pub struct Trace {
    start: Instant,
    verbose: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    hasher: DefaultHasher,
    count: u64,
    last: VecDeque<String>,
}

impl Trace {
    pub fn new(verbose: bool) -> Self {
        let inner = Inner { hasher: DefaultHasher::new(), count: 0, last: VecDeque::new() };
        Self { start: Instant::now(), verbose, inner: Mutex::new(inner) }
    }

    /// Simulated milliseconds since the start.
    pub fn now(&self) -> u128 {
        self.start.elapsed().as_millis()
    }

    /// Notes an event.
    pub fn note(&self, event: impl AsRef<str>) {
        let line = format!("{:>6} {}", self.now(), event.as_ref());
        if self.verbose {
            println!("{line}");
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        line.hash(&mut inner.hasher);
        inner.count += 1;
        if inner.last.len() == KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// How many events there were, and a number that differs if any of them does.
    pub fn sum(&self) -> (u64, u64) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.count, inner.hasher.finish())
    }

    /// The last events, oldest first.
    pub fn last(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last.iter().cloned().collect()
    }
}
