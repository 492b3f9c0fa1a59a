//! Which objects a list shows.

use swarm_api::Filters;
use swarm_api::object::Stored;

/// Whether `object` passes: every key given must match; several ids or names are alternatives, labels must all match.
/// `names` are what the object is called.
pub fn passes<T: Stored>(filters: Option<&Filters>, object: &T, names: &[&str]) -> bool {
    let Some(filters) = filters else { return true };
    let any = |wanted: &[String], test: &dyn Fn(&str) -> bool| {
        wanted.is_empty() || wanted.iter().any(|w| test(w))
    };
    any(&filters.ids, &|id| object.id().starts_with(id))
        && any(&filters.names, &|name| names.contains(&name))
        && any(&filters.name_prefixes, &|prefix| names.iter().any(|n| n.starts_with(prefix)))
        && filters.labels.iter().all(|(key, value)| has_label(object, key, value))
}

/// An empty value asks for the key alone.
fn has_label<T: Stored>(object: &T, key: &str, value: &str) -> bool {
    let found = object.labels().and_then(|labels| labels.get(key));
    found.is_some_and(|v| value.is_empty() || v == value)
}

#[cfg(test)]
mod tests {
    use swarm_api::{Annotations, Secret, SecretSpec};

    use super::*;

    fn secret() -> Secret {
        let labels = [("tier".to_owned(), "db".to_owned())].into();
        let annotations = Some(Annotations { name: "password".into(), labels });
        let spec = Some(SecretSpec { annotations, data: Vec::new() });
        Secret { id: "abc".into(), spec, ..Secret::default() }
    }

    fn shown(filters: Filters) -> bool {
        passes(Some(&filters), &secret(), &["password"])
    }

    #[test]
    fn all_keys_must_match_and_values_of_one_key_are_alternatives() {
        let ids = vec!["x".to_owned(), "ab".to_owned()];
        assert!(shown(Filters { ids: ids.clone(), ..Filters::default() }));
        assert!(!shown(Filters { ids, names: vec!["other".into()], ..Filters::default() }));
        assert!(shown(Filters { name_prefixes: vec!["pass".into()], ..Filters::default() }));
        assert!(!shown(Filters { names: vec!["pass".into()], ..Filters::default() }));
    }

    #[test]
    fn a_label_filter_without_value_asks_for_the_key() {
        let labels = |k: &str, v: &str| Filters {
            labels: [(k.to_owned(), v.to_owned())].into(),
            ..Filters::default()
        };
        assert!(shown(labels("tier", "")));
        assert!(shown(labels("tier", "db")));
        assert!(!shown(labels("tier", "web")));
        assert!(!shown(labels("zone", "")));
    }
}
