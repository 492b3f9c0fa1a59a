//! Modules say what they are: a doc at the head, a noun as a name, no `mod.rs`.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

/// Names that would fit anything.
const EMPTY: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "shared"];

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut note = |line, rule, message| {
        found.push(Violation { path: source.path.clone(), line, rule, message });
    };
    // What `foo/tests.rs` is for, its place says.
    if !source.facts.has_module_doc && !source.path.ends_with("/tests.rs") {
        note(1, "module-doc", "begin with //!: what it is for, who calls it".into());
    }
    if source.path.ends_with("/mod.rs") {
        note(0, "names", "use foo.rs beside foo/ in place of foo/mod.rs".into());
    }
    for module in &source.facts.modules {
        if EMPTY.contains(&module.name.as_str()) {
            let message = format!("{} says nothing: name the one noun it is about", module.name);
            note(module.line, "names", message);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{source, source_at};
    use super::*;

    fn rules(source: &Source) -> Vec<&'static str> {
        check(source).iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_module_without_a_doc_is_told() {
        assert_eq!(rules(&source("use std::fmt;")), ["module-doc"]);
        assert!(rules(&source_at("crates/a/src/b/tests.rs", "use super::*;")).is_empty());
        assert!(rules(&source("//! What it is.\nuse std::fmt;")).is_empty());
    }

    #[test]
    fn empty_names_are_told() {
        assert_eq!(rules(&source("//! A.\nmod utils;\nmod units;")), ["names"]);
        assert_eq!(rules(&source_at("crates/a/src/b/mod.rs", "//! B.")), ["names"]);
    }
}
