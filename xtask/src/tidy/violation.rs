//! One place that breaks one rule.

use std::fmt;

/// Sorts by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Relative to the root.
    pub path: String,
    /// From 1; 0 means the file as a whole.
    pub line: usize,
    /// The rule's short name, as exceptions call it.
    pub rule: &'static str,
    pub message: String,
}

impl Violation {
    /// The crate or folder it lies in.
    pub fn part(&self) -> String {
        let depth = if self.path.starts_with("crates/") { 2 } else { 1 };
        self.path.split('/').take(depth).collect::<Vec<_>>().join("/")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, message } = self;
        match line {
            0 => write!(f, "{path}: {message} [{rule}]"),
            _ => write!(f, "{path}:{line}: {message} [{rule}]"),
        }
    }
}
