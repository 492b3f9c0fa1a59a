//! The house rules, one module each. Pure: a rule gets what was read and gives what is wrong.
//! Called by [`run`](super::run).

mod docs;
mod errors;
mod foreign;
mod imports;
mod lints;
mod marks;
mod names;
mod panics;
mod paths;
mod purity;
mod size;
mod sleeps;
mod unsafety;

use super::source::Source;
use super::tree::Tree;
use super::violation::Violation;
use crate::workspace::Package;

/// A rule about one Rust file.
type SourceRule = fn(&Source) -> Vec<Violation>;

const SOURCE_RULES: &[SourceRule] = &[
    errors::check,
    lints::check,
    names::check,
    panics::check,
    purity::check,
    size::check,
    sleeps::check,
    unsafety::check,
];

/// Everything that is wrong, in no particular order.
pub fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in SOURCE_RULES {
        found.extend(tree.sources.iter().flat_map(rule));
    }
    for file in &tree.files {
        found.extend(marks::check(file));
        found.extend(paths::check(file));
    }
    found.extend(imports::check(packages));
    found.extend(foreign::check(packages));
    found.extend(docs::check(tree, packages));
    found
}

/// The manifest of a package, for what concerns it as a whole.
fn manifest(package: &Package) -> String {
    match package.folder.as_str() {
        "" => "Cargo.toml".into(),
        folder => format!("{folder}/Cargo.toml"),
    }
}

#[cfg(test)]
mod fixture {
    //! Small things to judge.

    use super::*;
    use crate::workspace::Dependency;

    /// A source file of some crate.
    pub fn source(text: &str) -> Source {
        source_at("crates/api/src/a.rs", text)
    }

    /// A source file at this path.
    pub fn source_at(path: &str, text: &str) -> Source {
        Source::parse(path, text).unwrap()
    }

    /// Lines of violations.
    pub fn lines(found: &[Violation]) -> Vec<usize> {
        found.iter().map(|violation| violation.line).collect()
    }

    /// A package with these dependencies; `+name` is one for tests.
    pub fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|word| Dependency {
            name: word.trim_start_matches('+').to_owned(),
            dev: word.starts_with('+'),
        });
        let short = name.strip_prefix("swarm-").unwrap_or(name);
        Package {
            name: name.into(),
            folder: format!("crates/{short}"),
            dependencies: dependencies.collect(),
        }
    }
}
