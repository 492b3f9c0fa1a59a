//! Messages of errors read on after a colon: lowercase, no full stop.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for error in &source.facts.errors {
        let mut note = |message: &str| {
            found.push(Violation {
                path: source.path.clone(),
                line: error.line,
                rule: "errors",
                message: format!("{message}: {:?}", error.text),
            });
        };
        if begins_with_a_capital(&error.text) {
            note("begin an error's message with a small letter");
        }
        if error.text.ends_with('.') && !error.text.ends_with("..") {
            note("end an error's message without a full stop");
        }
    }
    found
}

/// Abbreviations keep their capitals.
fn begins_with_a_capital(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters.next().is_some_and(char::is_uppercase);
    first && letters.next().is_some_and(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source};
    use super::*;

    #[test]
    fn messages_are_lowercase_and_have_no_full_stop() {
        let text = "enum E {\n#[error(\"No such node\")]\nA,\n#[error(\"it is gone.\")]\nB,\n\
                    #[error(\"TLS failed\")]\nC,\n#[error(\"{0} is taken\")]\nD(String)\n}";
        assert_eq!(lines(&check(&source(text))), [2, 4]);
    }
}
