//! Files, functions and lines stay short.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

const FILE: usize = 500;
const FUNCTION: usize = 70;
/// As rustfmt breaks code.
const CODE: usize = 100;
/// rustfmt leaves comments alone.
const COMMENT: usize = 130;

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut note = |line, message| {
        found.push(Violation { path: source.path.clone(), line, rule: "size", message });
    };
    let count = source.text.lines().count();
    if count > FILE {
        note(0, format!("the file has {count} lines, at most {FILE} are allowed"));
    }
    for function in &source.facts.functions {
        let count = function.lines.count();
        if count > FUNCTION {
            let name = &function.name;
            let message = format!("fn {name} has {count} lines, at most {FUNCTION} are allowed");
            note(function.lines.first, message);
        }
    }
    for (number, line) in source.lines() {
        let is_comment = line.trim_start().starts_with("//");
        let limit = if is_comment { COMMENT } else { CODE };
        let width = line.chars().count();
        if width > limit {
            let kind = if is_comment { "comment" } else { "line" };
            note(number, format!("the {kind} has {width} columns, at most {limit} are allowed"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source};
    use super::*;

    #[test]
    fn a_long_function_is_told_where_it_begins() {
        let body = "    let a = 1;\n".repeat(69);
        assert_eq!(lines(&check(&source(&format!("\nfn f() {{\n{body}}}\n")))), [2]);
        let body = "    let a = 1;\n".repeat(68);
        assert!(check(&source(&format!("\nfn f() {{\n{body}}}\n"))).is_empty());
    }

    #[test]
    fn a_long_file_is_told_as_a_whole() {
        assert!(check(&source(&"\n".repeat(500))).is_empty());
        assert_eq!(lines(&check(&source(&"\n".repeat(501)))), [0]);
    }

    #[test]
    fn comments_may_be_wider_than_code() {
        let text = format!("// {}\nconst A: &str = \"{}\";\n", "x".repeat(120), "ü".repeat(90));
        assert_eq!(lines(&check(&source(&text))), [2]);
    }
}
