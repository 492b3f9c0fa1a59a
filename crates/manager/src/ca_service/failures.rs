//! How many wrong join tokens are answered with a reason.

use std::time::{Duration, SystemTime};

/// Per window; a user who mistypes needs a few.
const ALLOWED: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);

/// Failures in the present window.
#[derive(Default)]
pub struct FailureLimit {
    since: Option<SystemTime>,
    count: u32,
}

impl FailureLimit {
    /// Counts one more failure; tells whether it is within the limit.
    pub fn count(&mut self, now: SystemTime) -> bool {
        let running = self
            .since
            .is_some_and(|since| now.duration_since(since).is_ok_and(|passed| passed < WINDOW));
        if !running {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= ALLOWED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_are_refused_until_the_window_has_passed() {
        let mut limit = FailureLimit::default();
        let start = SystemTime::UNIX_EPOCH;
        assert!((0..ALLOWED).all(|_| limit.count(start)));
        assert!(!limit.count(start));
        assert!(limit.count(start + WINDOW));
    }
}
