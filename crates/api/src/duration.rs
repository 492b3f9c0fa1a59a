//! Durations as users write them: Go's syntax (`1h0m0.5s`, `250ms`), as in every flag and compose file of Docker.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration \"{0}\": want a number with a unit (ns, us, ms, s, m, h), such as 1m30s")]
pub struct DurationError(String);

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds of `text`; may be negative.
pub fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    let error = || DurationError(text.to_owned());
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, scale) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end]).ok_or_else(error)?;
        total += number * scale;
        rest = &rest[end..];
    }
    // Go refuses what does not fit in 64 bits; 2^63 is about 9.22e18.
    if total >= 9.2e18 {
        return Err(error());
    }
    Ok((sign * total).round() as i64)
}

/// A duration that may not be negative.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let nanos = parse_nanos(text)?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| DurationError(text.to_owned()))
}

/// As Go prints a duration: `1m30s`, `250ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", decimal(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", decimal(nanos, 1_000_000));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// `nanos / unit` without trailing zeros.
fn decimal(nanos: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_is_understood() {
        assert_eq!(parse_nanos("1h0m0.5s"), Ok(3_600_500_000_000));
        assert_eq!(parse_nanos("250ms"), Ok(250_000_000));
        assert_eq!(parse_nanos("-1.5s"), Ok(-1_500_000_000));
        assert_eq!(parse_nanos("0"), Ok(0));
    }

    #[test]
    fn a_number_without_unit_or_an_unknown_unit_is_refused() {
        for text in ["", "10", "1w", "s", "1..2s", "-", "1 s"] {
            assert!(parse_nanos(text).is_err(), "{text}");
        }
        assert!(parse("-1s").is_err());
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for text in ["0s", "1m30s", "250ms", "1h0m0.5s", "5s", "15ns", "2h0m0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
