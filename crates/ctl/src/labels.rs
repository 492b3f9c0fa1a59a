//! `key=value` flags of every noun: labels, options and the like.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// `k=v` pairs as a map; a key alone has an empty value, and the last of several wins.
pub fn parse(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for flag in flags {
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        if key.trim().is_empty() {
            bail!("invalid label \"{flag}\": use key=value");
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// As `.Labels` in a template: `a=1,b=2`.
pub fn joined(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_has_an_empty_value() {
        let labels = parse(&["a=1=2".into(), "b".into()]).unwrap();
        assert_eq!(joined(Some(&labels)), "a=1=2,b=");
        assert!(parse(&["=x".into()]).is_err());
    }
}
