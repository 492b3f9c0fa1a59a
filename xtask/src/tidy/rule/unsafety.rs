//! Unsafe code lives in three packages, and says each time why it is sound.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

/// Two speak to the kernel where no safe binding exists; the third stands in for it.
const ALLOWED: [&str; 3] = ["crates/engine/", "crates/overlay-net/", "tests/sim/"];
/// A statement may be broken over a few lines before its unsafe block begins.
const LOOK_BACK: usize = 8;

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut note = |line, message: &str| {
        let (path, message) = (source.path.clone(), message.to_owned());
        found.push(Violation { path, line, rule: "unsafe", message });
    };
    let allowed = ALLOWED.iter().any(|folder| source.path.starts_with(folder));
    if is_root(&source.path) && !allowed && !source.facts.forbids_unsafe {
        note(1, "the root of a crate needs #![forbid(unsafe_code)]");
    }
    for &line in &source.facts.unsafe_blocks {
        if !is_explained(source, line) {
            note(line, "say above the unsafe block why it is sound: // SAFETY: …");
        }
    }
    found
}

/// A file in which a crate begins.
fn is_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || path.contains("/src/bin/")
}

/// A comment above the statement, or in its line.
fn is_explained(source: &Source, line: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    let first = line.saturating_sub(LOOK_BACK + 1);
    let mut above = lines.get(first..line).unwrap_or_default().iter().rev().enumerate();
    above
        .by_ref()
        .take_while(|(distance, text)| {
            let text = text.trim_end();
            *distance == 0 || text.trim_start().starts_with("//") || !ends_statement(text)
        })
        .any(|(_, text)| text.contains("SAFETY:"))
}

fn ends_statement(text: &str) -> bool {
    text.is_empty() || text.ends_with(';') || text.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source_at};
    use super::*;

    #[test]
    fn an_unsafe_block_without_its_reason_is_told() {
        let text = "fn f() {\n // SAFETY: checked above, and the\n // rest too.\n let a =\n \
                    unsafe { b() };\n let c = unsafe { d() };\n}";
        assert_eq!(lines(&check(&source_at("crates/engine/src/a.rs", text))), [6]);
    }

    #[test]
    fn a_crate_that_could_be_unsafe_is_told() {
        assert_eq!(lines(&check(&source_at("crates/api/src/lib.rs", "mod a;"))), [1]);
        assert!(check(&source_at("crates/engine/src/lib.rs", "mod a;")).is_empty());
        let safe = "#![forbid(unsafe_code)]\nmod a;";
        assert!(check(&source_at("crates/api/src/lib.rs", safe)).is_empty());
    }
}
