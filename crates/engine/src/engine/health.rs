//! Health checks: a task per running container that has one runs the check at its interval and
//! publishes what it means. What a result means is decided purely, by [`Judge`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, Entry};
use crate::spec::{ExecSpec, Healthcheck};
use crate::{HealthState, Phase};

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Output of a check is not shown anywhere yet; little is kept.
const MAX_OUTPUT: usize = 4096;

impl Engine {
    /// Starts checking a container that just started or was adopted. The task ends with the
    /// container or the engine.
    pub(super) fn check_health(&self, entry: &Arc<Entry>) {
        let Some(check) = entry.record.healthcheck.clone() else { return };
        entry.health.send_replace(HealthState::Starting);
        let (entry, weak) = (entry.clone(), Arc::downgrade(&self.inner));
        let closed = self.inner.closed.clone();
        tokio::spawn(async move {
            let mut phase = entry.phase.subscribe();
            let checks = async {
                let mut judge = Judge::new(&check);
                loop {
                    tokio::time::sleep(judge.pause()).await;
                    // The engine must not be kept alive by its own task.
                    let Some(inner) = weak.upgrade() else { return };
                    let engine = Engine { inner };
                    let healthy = engine.probe(&entry, &check).await;
                    drop(engine);
                    if let Some(state) = judge.result(healthy) {
                        entry.health.send_replace(state);
                    }
                }
            };
            tokio::select! {
                () = closed.cancelled() => {}
                _ = phase.wait_for(|phase| matches!(phase, Phase::Exited(_))) => {
                    entry.health.send_replace(HealthState::None);
                }
                () = checks => {}
            }
        });
    }

    async fn probe(&self, entry: &Entry, check: &Healthcheck) -> bool {
        let spec = ExecSpec {
            cmd: command(&check.test),
            timeout: Some(set(check.timeout, TIMEOUT)),
            max_output: MAX_OUTPUT,
            ..ExecSpec::default()
        };
        match self.run_command(entry, spec).await {
            Ok(result) => result.code == 0,
            // A check that cannot be run has failed, as in Docker.
            Err(_) => false,
        }
    }
}

fn set(time: Option<Duration>, default: Duration) -> Duration {
    time.filter(|time| !time.is_zero()).unwrap_or(default)
}

/// The command line of a check's `test`.
fn command(test: &[String]) -> Vec<String> {
    match test.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        _ => test.to_vec(),
    }
}

/// Turns results into a state: failures within the start period do not count until a first
/// success, and `retries` failures in a row make unhealthy.
struct Judge {
    interval: Duration,
    start_interval: Duration,
    start_until: Instant,
    retries: u32,
    failures: u32,
    passed: bool,
}

impl Judge {
    fn new(check: &Healthcheck) -> Self {
        let period = check.start_period.unwrap_or_default();
        Self {
            interval: set(check.interval, INTERVAL),
            start_interval: set(check.start_interval, START_INTERVAL),
            start_until: Instant::now() + period,
            retries: check.retries.filter(|n| *n > 0).unwrap_or(RETRIES),
            failures: 0,
            passed: false,
        }
    }

    fn starting(&self) -> bool {
        !self.passed && Instant::now() < self.start_until
    }

    /// Time until the next check.
    fn pause(&self) -> Duration {
        if self.starting() { self.start_interval.min(self.interval) } else { self.interval }
    }

    /// The state after one more result; None when it stays.
    fn result(&mut self, healthy: bool) -> Option<HealthState> {
        if healthy {
            self.failures = 0;
            self.passed = true;
            return Some(HealthState::Healthy);
        }
        if self.starting() {
            return None;
        }
        self.failures += 1;
        (self.failures >= self.retries).then_some(HealthState::Unhealthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_the_start_period_do_not_count() {
        let check = Healthcheck {
            start_period: Some(Duration::from_secs(10)),
            retries: Some(2),
            ..Healthcheck::default()
        };
        let mut judge = Judge::new(&check);
        assert_eq!(judge.pause(), START_INTERVAL);
        assert_eq!(judge.result(false), None);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(judge.pause(), INTERVAL);
        assert_eq!(judge.result(false), None);
        assert_eq!(judge.result(false), Some(HealthState::Unhealthy));
        assert_eq!(judge.result(true), Some(HealthState::Healthy));
        assert_eq!(judge.result(false), None);
    }

    #[test]
    fn a_shell_check_runs_in_a_shell() {
        let test = ["CMD-SHELL", "exit 1"].map(str::to_owned);
        assert_eq!(command(&test), ["/bin/sh", "-c", "exit 1"]);
        let test = ["CMD", "true", "x"].map(str::to_owned);
        assert_eq!(command(&test), ["true", "x"]);
    }
}
