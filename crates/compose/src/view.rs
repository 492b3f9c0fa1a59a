//! Typed reading of a tree: each value with the path that its problems are reported under.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use swarm_api::{duration, size, time};

use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, Report};

/// A value, known by its path.
#[derive(Debug, Clone)]
pub struct View<'a> {
    pub node: &'a Node,
    pub path: String,
}

impl<'a> View<'a> {
    pub fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    /// The value at `key`; a key without a value counts as absent.
    pub fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).filter(|node| !node.is_null()).map(|node| self.child(key, node))
    }

    pub fn child(&self, key: &str, node: &'a Node) -> Self {
        Self { node, path: joined(&self.path, key) }
    }

    pub fn problem(&self, message: impl Display) -> Problem {
        problem_at(self.node, &self.path, message)
    }

    /// The entries of a map; none of nothing.
    pub fn entries(&self) -> Result<Vec<(&'a Entry, Self)>, Problem> {
        match &self.node.value {
            Value::Null => Ok(Vec::new()),
            Value::Map(entries) => {
                Ok(entries.iter().map(|e| (e, self.child(&e.key, &e.node))).collect())
            }
            _ => Err(self.wants("a map")),
        }
    }

    /// The items of a list; none of nothing.
    pub fn items(&self) -> Result<Vec<Self>, Problem> {
        match &self.node.value {
            Value::Null => Ok(Vec::new()),
            Value::List(items) => {
                Ok(items.iter().map(|node| Self::new(node, self.path.clone())).collect())
            }
            _ => Err(self.wants("a list")),
        }
    }

    pub fn str(&self) -> Result<&'a str, Problem> {
        self.node.scalar().ok_or_else(|| self.wants("a string"))
    }

    pub fn text(&self) -> Result<String, Problem> {
        self.str().map(str::to_owned)
    }

    pub fn texts(&self) -> Result<Vec<String>, Problem> {
        self.items()?.iter().map(Self::text).collect()
    }

    /// A map of strings; a key without a value has an empty one.
    pub fn pairs(&self) -> Result<BTreeMap<String, String>, Problem> {
        self.entries()?
            .into_iter()
            .map(|(entry, view)| match entry.node.is_null() {
                true => Ok((entry.key.clone(), String::new())),
                false => Ok((entry.key.clone(), view.text()?)),
            })
            .collect()
    }

    pub fn boolean(&self) -> Result<bool, Problem> {
        match self.str()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Ok(true),
            "false" | "no" | "n" | "off" => Ok(false),
            other => Err(self.problem(format!("must be true or false, not \"{other}\""))),
        }
    }

    pub fn number<T: FromStr>(&self) -> Result<T, Problem> {
        let text = self.str()?;
        text.parse().map_err(|_| self.problem(format!("must be a number in range, not \"{text}\"")))
    }

    /// A value that some parser of the product's vocabulary reads.
    pub fn parsed<T, E: Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        parse(self.str()?).map_err(|error| self.problem(error))
    }

    pub fn duration(&self) -> Result<prost_types::Duration, Problem> {
        self.parsed(duration::parse).map(time::to_proto)
    }

    /// Bytes.
    pub fn size(&self) -> Result<i64, Problem> {
        self.parsed(size::parse_ram)
    }

    /// One of `choices`, each with its meaning.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.str()?;
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| self.problem(format!("must be one of {}, not \"{text}\"", names())))
    }

    pub fn wants(&self, kind: &str) -> Problem {
        self.problem(format!("must be {kind}, not {}", self.node.kind()))
    }
}

impl Report {
    /// Reads the value at `key`, if there is one.
    pub fn field<'a, T>(
        &mut self,
        view: &View<'a>,
        key: &str,
        read: impl FnOnce(&View<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        view.get(key).and_then(|view| self.keep(read(&view)))
    }

    /// The items at `key`, if it is a list.
    pub fn list<'a>(&mut self, view: &View<'a>, key: &str) -> Vec<View<'a>> {
        self.field(view, key, View::items).unwrap_or_default()
    }

    /// The entries at `key`, if it is a map.
    pub fn map<'a>(&mut self, view: &View<'a>, key: &str) -> Vec<(&'a Entry, View<'a>)> {
        self.field(view, key, View::entries).unwrap_or_default()
    }
}

/// `services.web` and `image` make `services.web.image`.
pub fn joined(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    }
}

pub fn problem_at(node: &Node, path: &str, message: impl Display) -> Problem {
    Problem { at: Some(node.at.clone()), path: path.to_owned(), message: message.to_string() }
}
