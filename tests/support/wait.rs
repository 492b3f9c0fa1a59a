//! Waiting on conditions. The only place in the tests where time passes by itself.

use std::fmt::Debug;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);
/// Long for whatever a test waits for, even on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until `condition` holds; panics with the last thing seen when the deadline passes.
pub fn eventually<T: Debug>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, condition)
}

/// The same with a deadline of the test's own.
pub fn eventually_within<T: Debug>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}; last seen: {seen}")
            }
            Err(_) => park_timeout(LOOK),
        }
    }
}
