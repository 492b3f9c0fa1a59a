//! Reads what lies on disk: the sources, `.env`, and the files that a compose file names.
//!
//! The only module with I/O. Messages never hold a file's content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::dotenv;
use crate::problem::{Position, Problem};
use crate::stack::Source;

/// Largest compose or env file; the biggest real ones are a hundredth of it.
const MAX_TEXT: u64 = 4 << 20;

/// Where a file's relative paths and variables come from.
#[derive(Debug)]
pub struct Place {
    /// Folder of the first source, absolute.
    pub base: PathBuf,
    /// The process's environment over `.env`.
    pub env: BTreeMap<String, String>,
}

impl Place {
    /// Finds the folder and reads its `.env`, if there is one.
    pub fn new(sources: &[Source], env: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let folder = match sources.first() {
            Some(Source::File(path)) => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        let shown = folder.join(".env");
        let nowhere = |message: String| Problem { at: None, path: String::new(), message };
        let base = std::path::absolute(Path::new(".").join(folder))
            .map_err(|error| nowhere(format!("cannot find {}: {error}", folder.display())))?;
        let mut known = BTreeMap::new();
        match read_text(&base.join(".env")) {
            Ok(text) => {
                let lines = dotenv::parse(&text, env).map_err(|error| Problem {
                    at: Some(place_of(&shown.display().to_string(), error.line)),
                    path: String::new(),
                    message: error.message,
                })?;
                known.extend(lines.into_iter().filter_map(|(key, value)| Some((key, value?))));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(nowhere(format!("cannot read {}: {error}", shown.display())));
            }
        }
        known.extend(env.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(Self { base: normal(&base), env: known })
    }

    /// The absolute path of one that a file names; `~` is the user's home.
    pub fn path(&self, text: &str) -> PathBuf {
        let home = || self.env.get("HOME").map_or("/", String::as_str);
        let path = match text.strip_prefix('~') {
            Some("") => PathBuf::from(home()),
            Some(rest) if rest.starts_with('/') => {
                Path::new(home()).join(rest.trim_start_matches('/'))
            }
            _ => self.base.join(text),
        };
        normal(&path)
    }
}

/// A source's name in messages, and its text.
pub fn read_source(source: &Source) -> Result<(Arc<str>, String), Problem> {
    match source {
        Source::Stdin(text) => Ok(("<stdin>".into(), text.clone())),
        Source::File(path) => {
            let text = read_text(path).map_err(|error| Problem {
                at: None,
                path: String::new(),
                message: format!("cannot read {}: {error}", path.display()),
            })?;
            Ok((path.display().to_string().into(), text))
        }
    }
}

/// A file of text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// A file of at most `max` bytes.
pub fn read_bytes(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(io::Error::other(format!("it is larger than {max} bytes"))),
        false => Ok(bytes),
    }
}

fn place_of(file: &str, line: usize) -> Position {
    Position { file: file.into(), line, column: 1 }
}

/// Without `.` and `..`; decided by the text alone, as the path may be one of another node.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
        normal
    })
}
