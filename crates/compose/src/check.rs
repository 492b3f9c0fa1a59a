//! Refuses every key that is unknown or not supported, by name and place, and warns of those that
//! mean nothing here.
//!
//! It looks at keys only; values are for `shape` and `convert` to judge.

use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, Report};
use crate::table::{Status, find, has_children};
use crate::view::joined;

/// Checks the keys of one file.
pub fn check(root: &Node, report: &mut Report) {
    walk(root, "", "", report);
}

/// `pattern` is the path with `*` and `[]` in it.
fn walk(node: &Node, pattern: &str, path: &str, report: &mut Report) {
    if !has_children(pattern) {
        return;
    }
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                check_entry(entry, pattern, path, report);
            }
        }
        Value::List(items) => {
            let pattern = joined(pattern, "[]");
            for item in items {
                walk(item, &pattern, path, report);
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn check_entry(entry: &Entry, pattern: &str, path: &str, report: &mut Report) {
    let path = joined(path, &entry.key);
    let named = joined(pattern, &entry.key);
    let any = joined(pattern, "*");
    // A name of the user's own may begin with x- or look like a key.
    if find(&any).is_some() {
        return walk(&entry.node, &any, &path, report);
    }
    let problem =
        |message: String| Problem { at: Some(entry.at.clone()), path: path.clone(), message };
    match find(&named) {
        Some(key) => match key.status {
            Status::Supported => walk(&entry.node, &named, &path, report),
            Status::Ignored => report.warn(&entry.at, &path, format!("ignored: {}", key.note)),
            Status::Refused => {
                report.problems.push(problem(format!("not supported: {}", key.note)));
            }
        },
        None if entry.key.starts_with("x-") => {}
        None => report.problems.push(problem(unknown(pattern, &entry.key))),
    }
}

fn unknown(pattern: &str, key: &str) -> String {
    let siblings = crate::table::keys().filter_map(|known| match known.path.rsplit_once('.') {
        Some((parent, name)) if parent == pattern => Some(name),
        None if pattern.is_empty() => Some(known.path),
        _ => None,
    });
    let nearest = siblings
        .map(|name| (distance(name, key), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min();
    match nearest {
        Some((_, name)) => format!("unknown key, did you mean \"{name}\"?"),
        None => "unknown key: remove it, or begin it with x- if it is your own".to_owned(),
    }
}

/// How many letters must be added, removed or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Report {
        let root = crate::yaml::parse(&"f.yaml".into(), text).unwrap();
        let mut report = Report::default();
        check(&root, &mut report);
        report
    }

    #[test]
    fn keys_that_nobody_knows_are_refused_with_their_place() {
        for (text, want) in [
            (
                "services:\n  web:\n    imgae: x\n",
                "f.yaml:3:5: services.web.imgae: unknown key, did you mean \"image\"?",
            ),
            (
                "services:\n  web:\n    foo: x\n",
                "f.yaml:3:5: services.web.foo: unknown key: remove it, or begin it with x- if it \
                 is your own",
            ),
            ("service: {}\n", "f.yaml:1:1: service: unknown key, did you mean \"services\"?"),
            (
                "services: {web: {ports: [{targt: 1}]}}",
                "f.yaml:1:27: services.web.ports.targt: unknown key, did you mean \"target\"?",
            ),
            (
                "services: {web: {privileged: true}}",
                "f.yaml:1:18: services.web.privileged: not supported: not built yet; use cap_add",
            ),
        ] {
            let report = checked(text);
            assert_eq!(report.problems.len(), 1, "{text}");
            assert_eq!(report.problems[0].to_string(), want);
        }
    }

    #[test]
    fn every_refused_key_is_refused_by_name() {
        for key in crate::table::keys().filter(|key| key.status == Status::Refused) {
            let text = sample(key.path);
            let report = checked(&text);
            assert_eq!(report.problems.len(), 1, "{text}");
            let message = report.problems[0].to_string();
            assert!(message.contains("not supported: "), "{message}");
            assert!(message.contains(key.path.rsplit('.').next().unwrap()), "{message}");
        }
    }

    /// A document in flow style that has the key.
    fn sample(path: &str) -> String {
        path.rsplit('.').fold("x".to_owned(), |inner, part| match part {
            "[]" => format!("[{inner}]"),
            "*" => format!("{{n: {inner}}}"),
            part => format!("{{{part}: {inner}}}"),
        })
    }

    #[test]
    fn extensions_and_names_of_ones_own_pass() {
        let report = checked(
            "x-a: {b: c}\nservices:\n  x-y: {x-z: 1, labels: {foo: bar}, networks: {image: {}}}\n",
        );
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }

    #[test]
    fn keys_without_effect_are_warned_of() {
        let report = checked("version: '3'\nservices: {web: {expose: [80]}}\n");
        assert!(report.problems.is_empty());
        assert_eq!(
            report.warnings,
            [
                "f.yaml:1:1: version: ignored: every file is read by the current specification",
                "f.yaml:2:18: services.web.expose: ignored: within a network every port is open",
            ]
        );
    }
}
