//! The files of the repository, as git knows them, and its Rust sources taken apart. Called by
//! [`run`](super::run).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::source::Source;
use crate::process;

/// One text file.
#[derive(Debug)]
pub struct TextFile {
    /// Relative to the root.
    pub path: String,
    pub text: String,
}

/// Everything the rules look at.
#[derive(Debug, Default)]
pub struct Tree {
    /// All text files, Rust or not.
    pub files: Vec<TextFile>,
    /// The Rust files among them.
    pub sources: Vec<Source>,
}

impl Tree {
    /// Reads every file that is committed or could be; binary files are left out.
    pub fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(root).args(["ls-files", "-z", "--cached", "--others"]);
        let list = process::capture(git.arg("--exclude-standard"))?;
        let mut files = Vec::new();
        for path in list.split_terminator('\0') {
            let Ok(bytes) = std::fs::read(root.join(path)) else {
                // Deleted in the work tree, but not yet in the index.
                continue;
            };
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(TextFile { path: path.to_owned(), text });
            }
        }
        Self::of(files)
    }

    /// A tree of files in memory.
    pub fn of(files: Vec<TextFile>) -> Result<Self> {
        let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
        let parse = |file: &TextFile| {
            Source::parse(&file.path, &file.text).with_context(|| format!("parse {}", file.path))
        };
        let mut sources = rust.map(parse).collect::<Result<Vec<_>>>()?;
        mark_test_modules(&mut sources);
        Ok(Self { files, sources })
    }

    /// The file at this path.
    pub fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Finds the files of modules that are declared under `#[cfg(test)]`.
fn mark_test_modules(sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let path = source.path.as_str();
        let declared = modules.iter().any(|module| {
            path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
        });
        source.is_test |= declared;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_a_test_with_all_beneath_it() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let tree = Tree::of(vec![
            file("crates/a/src/lib.rs", "#[cfg(test)]\nmod bed;\nmod real;"),
            file("crates/a/src/bed.rs", ""),
            file("crates/a/src/bed/sheet.rs", ""),
            file("crates/a/src/real.rs", ""),
        ]);
        let tests: Vec<bool> = tree.unwrap().sources.iter().map(|s| s.is_test).collect();
        assert_eq!(tests, [false, true, true, false]);
    }
}
