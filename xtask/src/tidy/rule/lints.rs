//! A lint is lifted with a reason, or not at all.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

pub fn check(source: &Source) -> Vec<Violation> {
    let bare = source.facts.lints.iter().filter(|lint| !lint.has_reason);
    let note = |lint: &crate::tidy::source::LintAttribute| Violation {
        path: source.path.clone(),
        line: lint.lines.first,
        rule: "lints",
        message: format!("say why {} is lifted: reason = \"…\"", lint.lints.trim_end_matches(',')),
    };
    bare.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source};
    use super::*;

    #[test]
    fn a_lint_lifted_without_a_reason_is_told() {
        let text =
            "#[allow(dead_code)]\nfn f() {}\n#[expect(dead_code, reason = \"x\")]\nfn g() {}";
        let found = check(&source(text));
        assert_eq!(lines(&found), [1]);
        assert_eq!(found[0].message, "say why dead_code is lifted: reason = \"…\"");
    }
}
