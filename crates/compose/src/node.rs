//! A YAML document as a tree in which every key and value knows its place in a file.
//!
//! Made by `yaml`, changed by `variables`, `shape` and `merge`, read through `view`.

use crate::problem::Position;

/// How a value meets the one of an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merging {
    /// By the rules of its key.
    #[default]
    Merge,
    /// `!override`: it replaces the earlier one.
    Override,
    /// `!reset`: the key is removed.
    Reset,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub at: Position,
    pub merging: Merging,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Text as written; what it means is for the reader of its key to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    pub text: String,
    /// Quoted, in a block or tagged as a string: then `0440` is text and no number.
    pub quoted: bool,
}

/// A key, its place and its value. A map's keys are distinct.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub node: Node,
}

impl Entry {
    pub fn new(key: impl Into<String>, node: Node) -> Self {
        Self { key: key.into(), at: node.at.clone(), node }
    }
}

impl Node {
    pub fn new(value: Value, at: &Position) -> Self {
        Self { value, at: at.clone(), merging: Merging::default() }
    }

    /// A quoted scalar.
    pub fn text(text: impl Into<String>, at: &Position) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.into(), quoted: true }), at)
    }

    /// A plain scalar: a number or boolean.
    pub fn plain(text: impl ToString, at: &Position) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.to_string(), quoted: false }), at)
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value at `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.node),
            _ => None,
        }
    }

    /// As `get`.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries_mut().iter_mut().find(|e| e.key == key).map(|e| &mut e.node)
    }

    /// A map's entries; none of anything else.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.value {
            Value::Map(entries) => entries,
            _ => &mut [],
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}
