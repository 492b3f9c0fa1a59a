//! Resources as users write them: CPUs, and countable kinds of a node's own (`gpu=2`).

use crate::generated::GenericResource;

/// Why a text is no amount of a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a number of CPUs.
    #[error("invalid number of cpus \"{0}\": want a number such as 0.5, with at most 9 decimals")]
    Cpus(String),
    /// Not KIND=N.
    #[error("invalid generic resource \"{0}\": want KIND=NUMBER, such as gpu=2")]
    Generic(String),
}

/// `1.5` as billionths of a CPU.
pub fn parse_cpus(text: &str) -> Result<i64, ResourceError> {
    let error = || ResourceError::Cpus(text.to_owned());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() || text == "." || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        return Err(error());
    }
    let padded = format!("{whole}{fraction:0<9}");
    padded.parse().map_err(|_| error())
}

/// `KIND=N`
pub fn parse_generic(text: &str) -> Result<GenericResource, ResourceError> {
    let error = || ResourceError::Generic(text.to_owned());
    let (kind, count) = text.split_once('=').ok_or_else(error)?;
    let count: i64 = count.parse().map_err(|_| error())?;
    if kind.is_empty() || count < 0 {
        return Err(error());
    }
    Ok(GenericResource { kind: kind.to_owned(), count, names: Vec::new() })
}

/// How many of its kind there are.
pub fn amount(resource: &GenericResource) -> i64 {
    match resource.names.is_empty() {
        true => resource.count,
        false => i64::try_from(resource.names.len()).unwrap_or(i64::MAX),
    }
}

/// Whether `available` covers every kind of `wanted`.
pub fn fits(wanted: &[GenericResource], available: &[GenericResource]) -> bool {
    wanted.iter().all(|want| {
        let have: i64 = available.iter().filter(|a| a.kind == want.kind).map(amount).sum();
        have >= amount(want)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted_in_billionths() {
        assert_eq!(parse_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_cpus(".001"), Ok(1_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        for text in ["", ".", "-1", "1e3", "0.0000000001", "a"] {
            assert!(parse_cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn named_resources_count_by_their_names() {
        let named = GenericResource {
            kind: "gpu".into(),
            count: 0,
            names: vec!["g0".into(), "g1".into(), "g2".into()],
        };
        let want = |n| vec![parse_generic(&format!("gpu={n}")).unwrap()];
        assert!(fits(&want(2), std::slice::from_ref(&named)) && !fits(&want(4), &[named]));
        assert!(!fits(&want(1), &[]));
    }
}
