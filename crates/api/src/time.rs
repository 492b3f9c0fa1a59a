//! Between protobuf's times and the standard library's. Nothing here reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// Nanoseconds since the epoch as a timestamp.
pub fn from_nanos(nanos: i64) -> Timestamp {
    // The remainder of a division by 10^9 fits in an i32.
    let rest = nanos.rem_euclid(1_000_000_000) as i32;
    Timestamp { seconds: nanos.div_euclid(1_000_000_000), nanos: rest }
}

/// A timestamp as nanoseconds since the epoch.
pub fn to_nanos(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanos))
}

/// A wall-clock time as nanoseconds since the epoch; times before it are 0.
pub fn nanos_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A wall-clock time as a timestamp.
pub fn timestamp(time: SystemTime) -> Timestamp {
    from_nanos(nanos_of(time))
}

/// A protobuf duration as a standard one; negative ones are zero.
pub fn to_std(duration: &prost_types::Duration) -> Duration {
    let seconds = u64::try_from(duration.seconds).unwrap_or(0);
    let nanos = u32::try_from(duration.nanos).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// A standard duration as a protobuf one.
pub fn to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// The duration, or `default` where none is set.
pub fn or_default(duration: Option<&prost_types::Duration>, default: Duration) -> Duration {
    duration.map_or(default, to_std)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_survive_the_round_trip() {
        for nanos in [0, 1, -1, 1_500_000_000, 1_763_000_000_123_456_789] {
            assert_eq!(to_nanos(&from_nanos(nanos)), nanos);
        }
    }
}
