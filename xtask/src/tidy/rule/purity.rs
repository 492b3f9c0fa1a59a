//! What decides does not look at the clock and does not wait: time is passed in, so that whole
//! clusters can run in a test, by seed.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

/// Folders of pure code.
const PURE: [&str; 2] = ["crates/scheduler/src/", "crates/compose/src/"];
/// Types that read the clock.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    if !PURE.iter().any(|folder| source.path.starts_with(folder)) {
        return found;
    }
    let mut note = |line, message: String| {
        if !source.in_test(line) {
            found.push(Violation { path: source.path.clone(), line, rule: "purity", message });
        }
    };
    for clock in CLOCKS {
        for line in source.places(&[clock, ":", ":", "now"]) {
            note(line, format!("pass the time in: {clock}::now has no place in pure code"));
        }
    }
    for line in source.places(&["async", "fn"]).into_iter().chain(source.places(&[".", "await"])) {
        note(line, "pure code does not wait".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source_at};
    use super::*;

    #[test]
    fn clocks_and_waiting_are_told_in_pure_code_only() {
        let text = "fn f() {\n Instant::now();\n}\nasync fn g() {}";
        assert_eq!(lines(&check(&source_at("crates/scheduler/src/a.rs", text))), [2, 4]);
        assert!(check(&source_at("crates/agent/src/a.rs", text)).is_empty());
    }
}
