//! The wall clock as a value, so that tests say what time it is.
//!
//! It measures no durations and sleeps for none: that is tokio's. Everything in this crate that stamps or compares times
//! of day is given one.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_api::time::nanos_of;

/// Where the time of day comes from. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The host's clock.
    pub fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// A clock of one's own.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The time of day in nanoseconds since the epoch.
    pub fn now_nanos(&self) -> i64 {
        nanos_of(self.now())
    }
}

impl Debug for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
