//! From YAML's text to a tree: anchors and aliases are expanded, merge keys (`<<`) applied;
//! duplicate keys, several documents and tags of programs are refused. It knows nothing of Compose.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::node::{Entry, Merging, Node, Scalar, Value};
use crate::problem::{Position, Problem};

/// Deeper nesting is a mistake or an attack: the deepest key of the specification is ten levels
/// down.
const MAX_DEPTH: usize = 64;
/// Most memory that a document may take once its aliases are expanded.
const MAX_WEIGHT: usize = 32 << 20;
/// What a value weighs besides its text.
const NODE_WEIGHT: usize = 128;

/// Parses one document; an empty one is an empty map.
pub fn parse(file: &Arc<str>, text: &str) -> Result<Node, Problem> {
    let mut builder = Builder { file: file.clone(), ..Builder::default() };
    // A byte order mark is no part of the document.
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let at = builder.at(mark.line(), mark.col());
            problem(&at, format!("invalid YAML: {}", error.info()))
        })?;
        builder.take(event, &span)?;
    }
    let start = builder.at(1, 0);
    Ok(builder.root.unwrap_or_else(|| Node::new(Value::Map(Vec::new()), &start)))
}

/// A finished value with what bounds it.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    depth: usize,
    // An unquoted `<<` as a key.
    merge_key: bool,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    weight: usize,
    depth: usize,
    anchor: usize,
    key: Option<Built>,
    seen: HashSet<String>,
    merged: Vec<Node>,
}

#[derive(Default)]
struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Built>,
    root: Option<Node>,
    documents: usize,
    weight: usize,
}

impl Builder {
    fn at(&self, line: usize, column: usize) -> Position {
        Position { file: self.file.clone(), line, column: column + 1 }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let at = self.at(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(_) => self.document(&at),
            Event::Scalar(text, style, anchor, tag) => {
                let built = scalar(&text, style, tag.as_deref(), &at)?;
                self.finished(built, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Value::List(Vec::new()), anchor, tag.as_deref(), &at)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Value::Map(Vec::new()), anchor, tag.as_deref(), &at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let message = "an alias stands within its own anchor";
                let built =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| problem(&at, message))?;
                self.finished(built, 0)
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => Ok(()),
        }
    }

    fn document(&mut self, at: &Position) -> Result<(), Problem> {
        self.documents += 1;
        match self.documents {
            1 => Ok(()),
            _ => Err(problem(at, "a second document: want one per file, pass each with -c")),
        }
    }

    fn start(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<&Tag>,
        at: &Position,
    ) -> Result<(), Problem> {
        let (merging, _) = read_tag(tag, at)?;
        let node = Node { merging, ..Node::new(value, at) };
        self.open.push(Open {
            node,
            weight: NODE_WEIGHT,
            depth: 1,
            anchor,
            key: None,
            seen: HashSet::new(),
            merged: Vec::new(),
        });
        match self.open.len() > MAX_DEPTH {
            true => Err(problem(at, format!("nested deeper than {MAX_DEPTH} levels"))),
            false => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Problem> {
        // The parser pairs each end with its start.
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Value::Map(entries) = &mut open.node.value {
            for merged in open.merged {
                add_missing(entries, &mut open.seen, merged);
            }
        }
        let Open { node, weight, depth, anchor, .. } = open;
        self.finished(Built { node, weight, depth, merge_key: false }, anchor)
    }

    /// Puts a value where it belongs: under its anchor, into the open collection, or at the root.
    fn finished(&mut self, built: Built, anchor: usize) -> Result<(), Problem> {
        let at = built.node.at.clone();
        self.weight += built.weight;
        if self.weight > MAX_WEIGHT || self.open.len() + built.depth > MAX_DEPTH {
            return Err(problem(&at, "aliases expand to too large a document"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        open.weight += built.weight;
        open.depth = open.depth.max(built.depth + 1);
        if let Value::List(items) = &mut open.node.value {
            items.push(built.node);
            return Ok(());
        }
        match open.key.take() {
            None => open.key = Some(built),
            Some(key) if key.merge_key => open.merged.extend(merge_sources(built.node)?),
            Some(key) => open.entry(&key.node, built.node)?,
        }
        Ok(())
    }
}

impl Open {
    fn entry(&mut self, key: &Node, node: Node) -> Result<(), Problem> {
        let Some(name) = key.scalar() else {
            return Err(problem(&key.at, format!("a key must be text, not {}", key.kind())));
        };
        if !self.seen.insert(name.to_owned()) {
            return Err(problem(&key.at, format!("the key \"{name}\" stands here twice")));
        }
        if let Value::Map(entries) = &mut self.node.value {
            entries.push(Entry { key: name.to_owned(), at: key.at.clone(), node });
        }
        Ok(())
    }
}

/// The maps of `<<: *a` or `<<: [*a, *b]`; earlier ones win.
fn merge_sources(node: Node) -> Result<Vec<Node>, Problem> {
    let wrong = |node: &Node| problem(&node.at, "<< wants a map or a list of maps");
    match node.value {
        Value::Map(_) => Ok(vec![node]),
        Value::List(items) => match items.iter().find(|n| !matches!(n.value, Value::Map(_))) {
            Some(other) => Err(wrong(other)),
            None => Ok(items),
        },
        _ => Err(wrong(&node)),
    }
}

fn add_missing(entries: &mut Vec<Entry>, seen: &mut HashSet<String>, merged: Node) {
    if let Value::Map(more) = merged.value {
        entries.extend(more.into_iter().filter(|entry| seen.insert(entry.key.clone())));
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: &Position,
) -> Result<Built, Problem> {
    let (merging, is_text) = read_tag(tag, at)?;
    let quoted = is_text || style != ScalarStyle::Plain;
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" if !quoted => Value::Null,
        _ => Value::Scalar(Scalar { text: text.to_owned(), quoted }),
    };
    Ok(Built {
        merge_key: !quoted && text == "<<",
        weight: NODE_WEIGHT + text.len(),
        depth: 1,
        node: Node { merging, ..Node::new(value, at) },
    })
}

/// How a tagged value is merged, and whether it is text whatever it looks like.
fn read_tag(tag: Option<&Tag>, at: &Position) -> Result<(Merging, bool), Problem> {
    let Some(tag) = tag else { return Ok((Merging::Merge, false)) };
    match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
        (true, "str") => Ok((Merging::Merge, true)),
        (true, "int" | "float" | "bool" | "null" | "map" | "seq" | "merge") => {
            Ok((Merging::Merge, false))
        }
        (false, "override") => Ok((Merging::Override, false)),
        (false, "reset") => Ok((Merging::Reset, false)),
        _ => Err(problem(at, format!("unknown tag {tag}: want !reset or !override"))),
    }
}

fn problem(at: &Position, message: impl Into<String>) -> Problem {
    Problem { at: Some(at.clone()), path: String::new(), message: message.into() }
}

#[cfg(test)]
mod tests;
