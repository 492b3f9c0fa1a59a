//! `--filter key=value`: different keys must all match, values of one key are alternatives, labels
//! must all match.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use swarm_api::Filters;

/// Filters of one command, grouped by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterSet(BTreeMap<String, Vec<String>>);

impl FilterSet {
    /// Parses the flags; a key that is not in `allowed` is refused.
    pub fn parse(flags: &[String], allowed: &[&str]) -> Result<Self> {
        let mut set = BTreeMap::<String, Vec<String>>::new();
        for flag in flags {
            let Some((key, value)) = flag.split_once('=') else {
                bail!("invalid filter '{flag}': use key=value");
            };
            let key = key.trim().to_lowercase();
            if !allowed.contains(&key.as_str()) {
                bail!("invalid filter '{key}' (known here: {})", allowed.join(", "));
            }
            set.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(FilterSet(set))
    }

    /// Values of `key`.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` is not filtered by, or one of its values passes `test`.
    pub fn allows(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|v| test(v))
    }

    /// Whether all `label=k` and `label=k=v` of `key` match.
    pub fn labels_match(&self, key: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.values(key).iter().all(|wanted| {
            let (name, value) = match wanted.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (wanted.as_str(), None),
            };
            let found = labels.and_then(|l| l.get(name));
            found.is_some_and(|f| value.is_none_or(|v| v == f))
        })
    }

    /// The part that the manager filters by: ids and names by prefix.
    pub fn request(&self) -> Option<Filters> {
        let filters = Filters {
            ids: self.values("id").to_vec(),
            name_prefixes: self.values("name").to_vec(),
            ..Filters::default()
        };
        (filters != Filters::default()).then_some(filters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(flags: &[&str]) -> FilterSet {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        FilterSet::parse(&flags, &["label", "role"]).unwrap()
    }

    #[test]
    fn values_of_one_key_are_alternatives() {
        let filters = set(&["role=manager", "role=worker"]);
        assert!(filters.allows("role", |r| r == "worker"));
        assert!(!filters.allows("role", |r| r == "other"));
        assert!(set(&[]).allows("role", |_| false));
    }

    #[test]
    fn all_labels_must_match() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert!(set(&["label=a", "label=a=1"]).labels_match("label", Some(&labels)));
        assert!(!set(&["label=a", "label=b"]).labels_match("label", Some(&labels)));
        assert!(!set(&["label=a=2"]).labels_match("label", Some(&labels)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = FilterSet::parse(&["x=1".into()], &["id"]).unwrap_err().to_string();
        assert_eq!(error, "invalid filter 'x' (known here: id)");
    }
}
