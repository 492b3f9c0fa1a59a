//! One Rust file, taken apart once for all rules: what it declares, which lines are tests, its words.
//! Pure. Called by [`Tree`](super::tree::Tree) and by the rules.

mod visit;
mod words;

use anyhow::Result;

pub use words::Word;

/// Lines from the first to the last, both included, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    pub first: usize,
    pub last: usize,
}

impl Lines {
    fn has(self, line: usize) -> bool {
        (self.first..=self.last).contains(&line)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.last + 1 - self.first
    }
}

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub lines: Lines,
}

/// `mod name;` or `mod name { … }`.
#[derive(Debug)]
pub struct Module {
    pub name: String,
    pub line: usize,
    /// Its code is in a file of its own.
    pub elsewhere: bool,
    /// Names of the modules in this file around it.
    pub within: Vec<String>,
}

/// `#[allow(…)]` or `#[expect(…)]`.
#[derive(Debug)]
pub struct LintAttribute {
    /// The lints, as written.
    pub lints: String,
    pub has_reason: bool,
    /// What it is attached to.
    pub lines: Lines,
}

/// Text of an `#[error("…")]`.
#[derive(Debug)]
pub struct ErrorText {
    pub text: String,
    pub line: usize,
}

/// A call of some `sleep`.
#[derive(Debug)]
pub struct Sleep {
    pub line: usize,
    /// Between two looks at a condition.
    pub in_loop: bool,
}

/// What there is in a file.
#[derive(Debug, Default)]
pub struct Facts {
    pub has_module_doc: bool,
    pub forbids_unsafe: bool,
    pub functions: Vec<Function>,
    pub modules: Vec<Module>,
    pub lints: Vec<LintAttribute>,
    pub errors: Vec<ErrorText>,
    /// Lines of `unsafe { … }`.
    pub unsafe_blocks: Vec<usize>,
    /// Lines of `#[ignore]`.
    pub ignored: Vec<usize>,
    pub sleeps: Vec<Sleep>,
    /// Items that exist only for tests.
    pub tests: Vec<Lines>,
    /// Tests whose clock is not the machine's.
    pub paused: Vec<Lines>,
}

/// A parsed file.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
    pub facts: Facts,
    /// Every word and sign outside of comments.
    pub words: Vec<Word>,
    /// The whole file is compiled for tests only.
    pub is_test: bool,
}

impl Source {
    /// Takes a file apart; fails where rustc would too.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        let file = syn::parse_file(text)?;
        let words = words::of(text.parse().map_err(|error| anyhow::anyhow!("{error}"))?);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            facts: visit::facts(&file),
            words,
            is_test: is_test_path(path),
        })
    }

    /// Whether what stands in this line exists only for tests.
    pub fn in_test(&self, line: usize) -> bool {
        self.is_test || self.facts.tests.iter().any(|lines| lines.has(line))
    }

    /// Whether time passes there by itself, as soon as nothing else happens.
    pub fn is_paused(&self, line: usize) -> bool {
        self.facts.paused.iter().any(|lines| lines.has(line))
    }

    /// Whether a lint is lifted there with a reason.
    pub fn lifts(&self, lint: &str, line: usize) -> bool {
        let mut lints = self.facts.lints.iter();
        lints.any(|lifted| {
            lifted.has_reason && lifted.lints.contains(lint) && lifted.lines.has(line)
        })
    }

    /// Paths, without `.rs`, of the modules elsewhere that only tests have.
    pub fn test_modules(&self) -> Vec<String> {
        let here = self.module_folder();
        let declared = self.facts.modules.iter().filter(|m| m.elsewhere && self.in_test(m.line));
        let place = |module: &Module| {
            let parts = module.within.iter().chain([&module.name]).map(String::as_str);
            std::iter::once(here.as_str()).chain(parts).collect::<Vec<_>>().join("/")
        };
        declared.map(place).collect()
    }

    /// The folder in which this file's modules are looked for.
    fn module_folder(&self) -> String {
        let whole = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let (folder, stem) = whole.rsplit_once('/').unwrap_or(("", whole));
        match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => whole.to_owned(),
        }
    }

    /// Lines, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Where these words follow one another: the line of the first.
    pub fn places(&self, sequence: &[&str]) -> Vec<usize> {
        let fits = |window: &&[Word]| window.iter().zip(sequence).all(|(w, s)| w.text == *s);
        self.words.windows(sequence.len()).filter(fits).map(|window| window[0].line).collect()
    }
}

/// By its place alone.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests;
