//! Sizes in bytes as users write and read them (the incumbent's rules: `64m` is 2^20-based, tables may be 10^3-based).

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size \"{0}\": want bytes or a number with b, k, m, g, t or p, such as 512m")]
pub struct SizeError(String);

const UNITS: &str = "kmgtp";

/// Bytes of `text`, units being powers of 1024: `64m`, `1.5GiB`, `64 MB`.
pub fn parse_ram(text: &str) -> Result<i64, SizeError> {
    let error = || SizeError(text.to_owned());
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    let last = text.rfind(is_number).ok_or_else(error)?;
    let (number, suffix) = (&text[..=last], &text[last + 1..]);
    // One space may stand between number and unit.
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number.parse().map_err(|_| error())?;
    if number < 0.0 {
        return Err(error());
    }
    let suffix = suffix.to_ascii_lowercase();
    let mut letters = suffix.chars();
    let scale = match letters.next() {
        None => return Ok(number as i64),
        Some('b') if suffix.len() == 1 => return Ok(number as i64),
        Some(unit) => UNITS.find(unit).ok_or_else(error)?,
    };
    if !matches!(letters.as_str(), "" | "b" | "ib") {
        return Err(error());
    }
    Ok((number * 1024f64.powi(scale as i32 + 1)) as i64)
}

/// With binary units and four digits: `2MiB`.
pub fn format_binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// With decimal units and three digits: `1.05MB`.
pub fn format_decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// As C's `%.Ng`: N significant digits without trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    let exponential = format!("{:.*e}", digits - 1, value);
    let exponent: i32 = exponential.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    let precision = digits as i32;
    if exponent >= precision {
        let mantissa = exponential.split('e').next().unwrap_or("0");
        return format!("{}e+{exponent:02}", trim_zeros(mantissa));
    }
    let decimals = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_ram("64m"), Ok(67_108_864));
        assert_eq!(parse_ram("64MB"), Ok(67_108_864));
        assert_eq!(parse_ram("1.5 GiB"), Ok(1_610_612_736));
        assert_eq!(parse_ram("32"), Ok(32));
        assert_eq!(parse_ram("32b"), Ok(32));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "lots", " 64 ", "64m b", "-1", "64x", "64bb", "64mib2x"] {
            assert!(parse_ram(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_with_few_digits() {
        assert_eq!(format_binary(2_097_152), "2MiB");
        assert_eq!(format_decimal(1_048_576), "1.05MB");
        assert_eq!(format_decimal(0), "0B");
        assert_eq!(format_binary(1_048_575), "1024KiB");
    }
}
