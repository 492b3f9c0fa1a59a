//! Times as people read them: `5 minutes ago`, RFC 3339, and back.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use prost_types::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `About a minute`, `3 hours`: one unit, rounded down, in the incumbent's words.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / DAY / 365),
    }
}

/// `5 minutes ago` as seen at `now`; empty for a time that is not set.
pub fn ago(time: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(time) = time else { return String::new() };
    let passed = swarm_api::time::nanos_of(now).saturating_sub(swarm_api::time::to_nanos(time));
    let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(0));
    format!("{} ago", rough(passed))
}

/// RFC 3339 in UTC with nanoseconds; empty for a time that is not set.
pub fn rfc3339(time: Option<&Timestamp>) -> String {
    time.and_then(|t| jiff::Timestamp::new(t.seconds, t.nanos).ok())
        .map_or_else(String::new, |t| format!("{t:.9}"))
}

/// A point in time given as RFC 3339, as seconds since the epoch or as a duration before `now`.
pub fn parse_since(text: &str, now: SystemTime) -> Result<Timestamp> {
    if let Ok(before) = swarm_api::duration::parse(text) {
        let then = now.checked_sub(before).unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok(swarm_api::time::timestamp(then));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Timestamp { seconds, nanos: 0 });
    }
    let at: jiff::Timestamp = text.parse().with_context(|| {
        format!("invalid time \"{text}\": use RFC 3339 (2026-01-02T15:04:05Z) or an age (10m)")
    })?;
    Ok(Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_one_unit() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (300, "5 minutes"),
            (4000, "About an hour"),
            (3 * HOUR, "3 hours"),
            (3 * DAY, "3 days"),
            (21 * DAY, "3 weeks"),
            (90 * DAY, "3 months"),
            (800 * DAY, "2 years"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rough(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn since_takes_an_age_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(parse_since("10m", now).unwrap().seconds, 400);
        assert_eq!(parse_since("1970-01-01T00:01:00Z", now).unwrap().seconds, 60);
        assert!(parse_since("yesterday", now).is_err());
    }

    #[test]
    fn timestamps_are_written_in_utc() {
        let time = Timestamp { seconds: 60, nanos: 5 };
        assert_eq!(rfc3339(Some(&time)), "1970-01-01T00:01:00.000000005Z");
        assert_eq!(rfc3339(None), "");
    }
}
