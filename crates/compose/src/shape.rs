//! Brings every short form into its long form, so that files can be merged and read in one shape:
//! lists of `KEY=value` become maps, port and volume texts become maps, command lines become lists.
//!
//! Where variables were left in place, a short form that holds one stays as it is.

mod mount;
mod port;

use crate::node::{Entry, Merging, Node, Value};
use crate::problem::{Problem, Report};
use crate::view::{View, joined};

/// Turns a value into its long form.
type Reshape = fn(&View<'_>, &mut Shaper<'_>) -> Result<Option<Value>, Problem>;

/// What reshaping needs besides the value.
pub struct Shaper<'a> {
    pub report: &'a mut Report,
    /// Variables were left in place.
    pub variables: bool,
}

impl Shaper<'_> {
    /// Whether a text cannot be taken apart yet.
    fn must_stay(&self, text: &str) -> bool {
        self.variables && text.contains('$')
    }
}

/// The keys of a service that have a short form.
const SERVICE: &[(&[&str], Reshape)] = &[
    (&["environment"], pairs),
    (&["labels"], pairs),
    (&["deploy", "labels"], pairs),
    (&["sysctls"], pairs),
    (&["extra_hosts"], hosts),
    (&["networks"], names),
    (&["dns"], list),
    (&["dns_search"], list),
    (&["tmpfs"], list),
    (&["label_file"], list),
    (&["env_file"], env_files),
    (&["command"], words),
    (&["entrypoint"], words),
    (&["healthcheck", "test"], shell),
    (&["ports"], port::long),
    (&["volumes"], mount::long),
    (&["secrets"], references),
    (&["configs"], references),
];

/// Reshapes one file.
pub fn reshape(root: &mut Node, shaper: &mut Shaper<'_>) {
    for (name, service, path) in section(root, "services") {
        for (keys, reshape) in SERVICE {
            apply(service, keys, &joined(&path, &name), *reshape, shaper);
        }
    }
    for top in ["networks", "volumes", "secrets", "configs"] {
        for (name, object, path) in section(root, top) {
            let path = joined(&path, &name);
            apply(object, &["labels"], &path, pairs, shaper);
            external(object);
        }
    }
}

fn section<'a>(
    root: &'a mut Node,
    key: &'a str,
) -> impl Iterator<Item = (String, &'a mut Node, String)> {
    let entries = root.get_mut(key).map(Node::entries_mut).unwrap_or_default();
    entries.iter_mut().map(move |entry| (entry.key.clone(), &mut entry.node, key.to_owned()))
}

fn apply(node: &mut Node, keys: &[&str], path: &str, reshape: Reshape, shaper: &mut Shaper<'_>) {
    let Some((first, rest)) = keys.split_first() else {
        match reshape(&View::new(node, path), shaper) {
            Ok(None) => {}
            Ok(Some(value)) => node.value = value,
            Err(problem) => {
                shaper.report.problems.push(problem);
                // Nothing is left of it that could be found wrong again.
                node.value = Value::Null;
            }
        }
        return;
    };
    if let Some(child) = node.get_mut(first) {
        apply(child, rest, &joined(path, first), reshape, shaper);
    }
}

/// `[A=b, C]` becomes `{A: b, C: }`.
fn pairs(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let Value::List(_) = view.node.value else { return Ok(None) };
    let mut entries: Vec<Entry> = Vec::new();
    for item in view.items()? {
        let text = item.str()?;
        let at = &item.node.at;
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Node::text(value, at)),
            None => (text, Node::new(Value::Null, at)),
        };
        if key.is_empty() {
            return Err(item.problem(format!("\"{text}\": want KEY=value")));
        }
        entries.retain(|entry| entry.key != key);
        entries.push(Entry::new(key, value));
    }
    Ok(Some(Value::Map(entries)))
}

/// `{host: ip}` becomes `[host=ip]`.
fn hosts(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let Value::Map(_) = view.node.value else { return Ok(None) };
    let mut items = Vec::new();
    for (entry, value) in view.entries()? {
        let addresses = match value.node.value {
            Value::List(_) => value.items()?,
            _ => vec![value],
        };
        for address in addresses {
            let text = format!("{}={}", entry.key, address.str()?);
            items.push(Node::text(text, &address.node.at));
        }
    }
    Ok(Some(Value::List(items)))
}

/// `[a, b]` becomes `{a: , b: }`.
fn names(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let Value::List(_) = view.node.value else { return Ok(None) };
    let mut entries: Vec<Entry> = Vec::new();
    for item in view.items()? {
        let name = item.str()?;
        if entries.iter().any(|entry| entry.key == name) {
            return Err(item.problem(format!("\"{name}\" stands here twice")));
        }
        entries.push(Entry::new(name, Node::new(Value::Null, &item.node.at)));
    }
    Ok(Some(Value::Map(entries)))
}

/// `a` becomes `[a]`.
fn list(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    Ok(view.node.scalar().map(|text| Value::List(vec![Node::text(text, &view.node.at)])))
}

/// `a` and `[a]` become `[{path: a}]`.
fn env_files(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let items = match &view.node.value {
        Value::Scalar(_) => vec![view.clone()],
        Value::List(_) => view.items()?,
        _ => return Ok(None),
    };
    Ok(Some(Value::List(items.iter().map(|item| single(item.node, "path")).collect())))
}

/// `[a]` becomes `[{source: a}]`.
fn references(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let Value::List(_) = view.node.value else { return Ok(None) };
    let items = view.items()?;
    Ok(Some(Value::List(items.iter().map(|item| single(item.node, "source")).collect())))
}

/// A text as a map of one key; anything else as it is.
fn single(node: &Node, key: &str) -> Node {
    match node.scalar() {
        Some(text) => {
            let entry = Entry::new(key, Node::text(text, &node.at));
            Node::new(Value::Map(vec![entry]), &node.at)
        }
        None => node.clone(),
    }
}

/// A command line becomes its words, as a shell would split it.
fn words(view: &View<'_>, shaper: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let Some(text) = view.node.scalar().filter(|text| !shaper.must_stay(text)) else {
        return Ok(None);
    };
    let words = shlex::split(text)
        .ok_or_else(|| view.problem(format!("\"{text}\": a quote is not closed")))?;
    let words = words.into_iter().map(|word| Node::text(word, &view.node.at)).collect();
    Ok(Some(Value::List(words)))
}

/// A health check's text is for the shell.
fn shell(view: &View<'_>, _: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    let at = &view.node.at;
    Ok(view
        .node
        .scalar()
        .map(|text| Value::List(vec![Node::text("CMD-SHELL", at), Node::text(text, at)])))
}

/// `external: {name: x}` becomes `external: true` and `name: x`.
fn external(object: &mut Node) {
    let Some(name) = object.get("external").and_then(|node| node.get("name")).cloned() else {
        return;
    };
    let Value::Map(entries) = &mut object.value else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key == "external") {
        entry.node.value = Node::plain(true, &entry.at).value;
    }
    if !entries.iter().any(|entry| entry.key == "name") {
        entries.push(Entry::new("name", name));
    }
}

/// A map of what is there.
fn map(at: &Node, entries: impl IntoIterator<Item = (&'static str, Option<Node>)>) -> Node {
    let entries = entries.into_iter().filter_map(|(key, node)| Some(Entry::new(key, node?)));
    Node { merging: Merging::Merge, ..Node::new(Value::Map(entries.collect()), &at.at) }
}

/// Replaces the texts of a list, each by any number of nodes.
fn each_text(
    view: &View<'_>,
    shaper: &mut Shaper<'_>,
    mut long: impl FnMut(&View<'_>, &str, &mut Report) -> Result<Vec<Node>, Problem>,
) -> Result<Option<Value>, Problem> {
    let Value::List(_) = view.node.value else { return Ok(None) };
    let mut items = Vec::new();
    for item in view.items()? {
        match item.node.scalar() {
            Some(text) if !shaper.must_stay(text) => {
                let longer = long(&item, text, shaper.report);
                items.extend(shaper.report.keep(longer).unwrap_or_default());
            }
            None if item.node.is_null() => {
                shaper.report.problems.push(item.problem("must not be empty"));
            }
            _ => items.push(item.node.clone()),
        }
    }
    Ok(Some(Value::List(items)))
}
