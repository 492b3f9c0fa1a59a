//! Tests wait for what they want to see, until a deadline; none sleeps and hopes. A pause between two
//! looks is fine, and so is sleeping where the clock is the test's own.

use crate::tidy::source::Source;
use crate::tidy::violation::Violation;

/// All time in there is simulated.
const SIMULATED: &str = "tests/sim/src/";

pub fn check(source: &Source) -> Vec<Violation> {
    if source.path.starts_with(SIMULATED) {
        return Vec::new();
    }
    let hopes = source.facts.sleeps.iter().filter(|sleep| {
        !sleep.in_loop && source.in_test(sleep.line) && !source.is_paused(sleep.line)
    });
    let note = |sleep: &crate::tidy::source::Sleep| Violation {
        path: source.path.clone(),
        line: sleep.line,
        rule: "sleeps",
        message: "wait on a condition with a deadline in place of a sleep".into(),
    };
    hopes.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{lines, source};
    use super::*;

    #[test]
    fn a_sleep_in_a_test_is_told() {
        let text = "fn f() { thread::sleep(d); }\n#[test]\nfn t() {\n thread::sleep(d);\n \
                    sleep(d);\n image.sleep(1);\n}";
        assert_eq!(lines(&check(&source(text))), [4, 5]);
    }

    #[test]
    fn a_pause_between_two_looks_is_no_sleep() {
        let text = "#[test]\nfn t() {\n while !done() {\n sleep(d);\n }\n}\n\
                    #[tokio::test(start_paused = true)]\nasync fn p() { sleep(d).await }";
        assert!(check(&source(text)).is_empty());
    }
}
