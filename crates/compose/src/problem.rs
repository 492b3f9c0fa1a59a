//! What is wrong with a compose file, and where: collected, so that one run shows every problem.
//!
//! Problems never hold the content of a secret, nor the value of a variable that was not written in
//! the file.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

/// A place in a source; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file as the user named it, or `<stdin>`.
    pub file: Arc<str>,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, unless it concerns no place in a file.
    pub at: Option<Position>,
    /// The key's path, such as `services.web.image`; empty for the whole file.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// `compose.yaml:12:7: services.web.foo: unknown key …`
impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{}:{}:{}: ", at.file, at.line, at.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the sources, in the order of the files' lines; never empty.
/// Shown as one line per problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ComposeErrors(pub Vec<Problem>);

impl Display for ComposeErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end = if index + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{problem}{end}")?;
        }
        Ok(())
    }
}

impl From<Problem> for ComposeErrors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Collects problems and warnings while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl Report {
    /// The value, or nothing after its problem was noted.
    pub fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Notes what the user should know although it stops nothing.
    pub fn warn(&mut self, at: &Position, path: &str, message: impl Display) {
        let at = Some(at.clone());
        let problem = Problem { at, path: path.to_owned(), message: message.to_string() };
        let warning = problem.to_string();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// `value` if nothing was wrong, and the warnings.
    pub fn finish<T>(mut self, value: T) -> Result<(T, Vec<String>), ComposeErrors> {
        self.problems.sort_by_key(|problem| {
            problem.at.as_ref().map(|at| (at.file.clone(), at.line, at.column))
        });
        match self.problems.is_empty() {
            true => Ok((value, self.warnings)),
            false => Err(ComposeErrors(self.problems)),
        }
    }
}
