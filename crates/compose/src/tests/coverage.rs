//! Holds the conversion to the table: every supported key is read, and is read with care.

use std::collections::BTreeSet;

use super::*;
use crate::node::Entry;

/// Has every supported key, each with a value that is not its default.
const SAMPLE: &str = include_str!("sample.yaml");

/// Keys that can only say what is so anyway; a wrong value is still refused.
const ONE_VALUE: [&str; 3] =
    ["networks.*.driver", "networks.*.ipam.driver", "services.*.volumes.[].bind.create_host_path"];

/// Where an entry stands: indexes into maps and lists.
type Steps = Vec<usize>;

fn walk(node: &Node, pattern: &str, steps: &Steps, found: &mut Vec<(String, Steps)>) {
    if !table::has_children(pattern) {
        return;
    }
    let step = |index| [steps.as_slice(), &[index]].concat();
    match &node.value {
        Value::Map(entries) => {
            for (index, Entry { key, node, .. }) in entries.iter().enumerate() {
                let any = view::joined(pattern, "*");
                let pattern =
                    if table::find(&any).is_some() { any } else { view::joined(pattern, key) };
                found.push((pattern.clone(), step(index)));
                walk(node, &pattern, &step(index), found);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &view::joined(pattern, "[]"), &step(index), found);
            }
        }
        _ => {}
    }
}

/// Changes the entry at `steps`.
fn change(node: &mut Node, steps: &[usize], act: &dyn Fn(&mut Vec<Entry>, usize)) {
    match (&mut node.value, steps) {
        (Value::Map(entries), [index]) => act(entries, *index),
        (Value::Map(entries), [index, rest @ ..]) => {
            change(&mut entries[*index].node, rest, act);
        }
        (Value::List(items), [index, rest @ ..]) => change(&mut items[*index], rest, act),
        _ => panic!("no such entry: {steps:?}"),
    }
}

/// As `load` does from the tree on: parsing hundreds of variants is what would take the time.
fn load_node(place: &Place, node: &Node) -> Result<Stack, ComposeErrors> {
    let mut report = Report::default();
    let mut root = node.clone();
    check::check(&root, &mut report);
    shape::reshape(&mut root, &mut Shaper { report: &mut report, variables: false });
    let stack = convert::convert(&root, "shop", place, &mut report);
    report.finish(stack).map(|(stack, _)| stack)
}

#[test]
fn every_supported_key_has_an_effect_and_refuses_nonsense() {
    let folder = Folder::new(&[("some.env", "A='1'\n"), ("some.labels", "l=1\n"), ("data", "d")]);
    let env = [("VAR".to_owned(), "v".to_owned())].into();
    let place = Place::new(&[Source::File(folder.path("c.yaml"))], &env).unwrap();
    let sample = yaml::parse(&"sample".into(), SAMPLE).unwrap();
    let whole = load_node(&place, &sample).unwrap_or_else(|errors| panic!("{errors}"));
    let mut found = Vec::new();
    walk(&sample, "", &Vec::new(), &mut found);
    let mut effective = BTreeSet::new();
    for (pattern, steps) in &found {
        let mut without = sample.clone();
        change(&mut without, steps, &|entries, index| {
            entries.remove(index);
        });
        if load_node(&place, &without).ok().as_ref() != Some(&whole) {
            effective.insert(pattern.as_str());
        }
        let mut broken = sample.clone();
        change(&mut broken, steps, &|entries, index| {
            let at = entries[index].at.clone();
            let inner = Node::new(Value::List(vec![Node::text("x", &at)]), &at);
            entries[index].node = Node::new(Value::List(vec![inner]), &at);
        });
        assert!(load_node(&place, &broken).is_err(), "{pattern} takes [[x]]");
    }
    for key in keys().filter(|key| key.status == Status::Supported) {
        assert!(found.iter().any(|(pattern, _)| pattern == key.path), "{} is missing", key.path);
        let has_effect = effective.contains(key.path) || ONE_VALUE.contains(&key.path);
        assert!(has_effect, "{} has no effect", key.path);
    }
}
