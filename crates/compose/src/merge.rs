//! Merges a later file into an earlier one, both in their long forms.
//!
//! Scalars override, maps merge, lists append; some keys replace, some lists are matched by a key
//! (docker-swarm §6.1).

use crate::node::{Entry, Merging, Node, Value};
use crate::view::joined;

/// Keys whose later value replaces the earlier one whole.
const REPLACED: [&str; 5] = [
    "services.*.command",
    "services.*.entrypoint",
    "services.*.healthcheck.test",
    "services.*.networks.*.aliases",
    "services.*.ulimits.*",
];

/// Maps in which a key without a value means something.
const NULLS_COUNT: [&str; 1] = ["services.*.environment"];

/// `over` wins.
pub fn merge(base: &mut Node, over: Node) {
    merge_at(base, over, "");
}

/// Drops what no earlier file had anything to be dropped from.
pub fn settle(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|entry| entry.node.merging != Merging::Reset);
            entries.iter_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.merging != Merging::Reset);
            items.iter_mut().for_each(settle);
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn merge_at(base: &mut Node, over: Node, pattern: &str) {
    let replaces = over.merging == Merging::Override
        || REPLACED.contains(&pattern)
        || (pattern == "services.*.logging" && other_driver(base, &over));
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) if !replaces => {
            more.into_iter().for_each(|entry| merge_entry(entries, entry, pattern));
        }
        (Value::List(items), Value::List(more)) if !replaces => append(items, more, pattern),
        // A key without a value says nothing.
        (Value::Map(_) | Value::List(_), Value::Null) if !replaces => {}
        (value, more) => {
            *value = more;
            base.at = over.at;
        }
    }
}

fn merge_entry(entries: &mut Vec<Entry>, entry: Entry, parent: &str) {
    if entry.node.merging == Merging::Reset {
        entries.retain(|own| own.key != entry.key);
        return;
    }
    let pattern = pattern_of(parent, &entry.key);
    let says_nothing = entry.node.is_null() && !NULLS_COUNT.contains(&parent);
    match entries.iter_mut().find(|own| own.key == entry.key) {
        Some(_) if says_nothing => {}
        Some(own) => merge_at(&mut own.node, entry.node, &pattern),
        None => entries.push(entry),
    }
}

/// The path with `*` for names of the user's own.
fn pattern_of(parent: &str, key: &str) -> String {
    let any = joined(parent, "*");
    if crate::table::find(&any).is_some() { any } else { joined(parent, key) }
}

fn append(items: &mut Vec<Node>, more: Vec<Node>, pattern: &str) {
    for node in more {
        let identity = identity(&node, pattern);
        match items
            .iter_mut()
            .find(|own| identity.is_some() && self::identity(own, pattern) == identity)
        {
            Some(own) => *own = node,
            None => items.push(node),
        }
    }
}

/// What makes two items of a list the same one.
fn identity(node: &Node, pattern: &str) -> Option<String> {
    let text = |key: &str| node.get(key).and_then(Node::scalar).unwrap_or_default();
    let identity = match pattern {
        "services.*.ports" => match text("published") {
            "" | "0" => format!("{}->{}", text("protocol"), text("target")),
            published => format!("{}:{published}", text("protocol")),
        },
        "services.*.volumes" => text("target").to_owned(),
        "services.*.secrets" | "services.*.configs" => text("source").to_owned(),
        _ => return None,
    };
    matches!(node.value, Value::Map(_)).then_some(identity)
}

fn other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::scalar).map(str::to_owned);
    matches!((driver(base), driver(over)), (Some(a), Some(b)) if a != b)
}
