//! Outside of tests nothing panics, but for a stated invariant.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

/// Methods, with the lint that lifts them.
const METHODS: [(&str, &str); 2] =
    [("unwrap", "clippy::unwrap_used"), ("expect", "clippy::expect_used")];
/// Everywhere, tests included.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut note = |line, message| {
        found.push(Violation { path: source.path.clone(), line, rule: "panics", message });
    };
    for (method, lint) in METHODS {
        for line in source.places(&[".", method, "("]) {
            if !source.in_test(line) && !source.lifts(lint, line) {
                let message = format!(
                    "return an error in place of {method}(), or state the invariant with \
                     #[expect({lint}, reason = \"…\")]"
                );
                note(line, message);
            }
        }
    }
    for line in source.places(&["panic", "!", "("]) {
        if !source.in_test(line) && !source.lifts("clippy::panic", line) {
            note(line, "return an error in place of panic!".into());
        }
    }
    for name in UNFINISHED {
        for line in source.places(&[name, "!", "("]) {
            note(line, format!("{name}! is not for finished code"));
        }
    }
    for &line in &source.facts.ignored {
        note(line, "no test is ignored: skip it where it cannot run, with the reason".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source};
    use super::*;

    #[test]
    fn unwrap_and_expect_are_for_tests() {
        let text = "fn f() {\n a.unwrap();\n b.expect(\"c\");\n a.unwrap_or(1); panic!();\n}\n\
                    #[cfg(test)]\nmod tests {\n fn t() { a.unwrap() }\n}";
        assert_eq!(lines(&check(&source(text))), [2, 3, 4]);
    }

    #[test]
    fn a_stated_invariant_is_enough() {
        let text = "#[expect(clippy::unwrap_used, reason = \"checked above\")]\n\
                    fn f() { a.unwrap() }\n#[allow(clippy::unwrap_used)]\nfn g() { a.unwrap() }";
        assert_eq!(lines(&check(&source(text))), [4]);
    }

    #[test]
    fn unfinished_code_is_told_in_tests_too() {
        let text = "#[cfg(test)]\nmod tests {\n #[ignore]\n fn t() { todo!() }\n}";
        assert_eq!(lines(&check(&source(text))), [4, 3]);
    }
}
