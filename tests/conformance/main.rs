//! Runs conformance cases: what the formats of the incumbent give for an input, against what our parsers and passes give.
//!
//! `conformance FILE…` prints a line per failure and a count; it fails if a case does. An operation that is not known is
//! skipped, and so is a case that `deviations.md` names. The sample cases beside this file are a test of their own. Called
//! by `cargo xtask conformance`.
//!
//! - [`case`]: a case, and how an answer is compared with it.
//! - [`value`]: texts of flags: sizes, durations, names, ports, mounts, images, tokens.
//! - [`compose`]: compose files.
//! - [`constraint`], [`schedule`]: where tasks go.
//! - [`allocation`]: who gets which published port.
//! - [`spec`]: what the managers' door accepts.
//! - [`world`], [`lifecycle`]: what the passes do as time goes by.
#![forbid(unsafe_code)]
// A case that has another form than its operation is said to fail, not to panic; these are tests nevertheless.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod allocation;
mod case;
mod compose;
mod constraint;
mod lifecycle;
mod schedule;
mod spec;
mod value;
mod world;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use case::{Answer, Case};

/// Cases that we answer otherwise on purpose, one list item each: `- id: reason`.
const DEVIATIONS: &str = include_str!("deviations.md");

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return fail("usage: conformance FILE…");
    }
    let mut score = Score::default();
    for file in files {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => return fail(&format!("cannot read {file}: {error}")),
        };
        if let Err(error) = score.run(&text) {
            return fail(&format!("{file}: {error}"));
        }
    }
    let mut out = std::io::stdout().lock();
    let printed = score.failures.iter().try_for_each(|line| writeln!(out, "{line}"));
    if printed.and_then(|()| writeln!(out, "{}", score.sum())).is_err() {
        return ExitCode::FAILURE;
    }
    if score.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "conformance: {reason}");
    ExitCode::FAILURE
}

/// What came of the cases so far.
#[derive(Default)]
struct Score {
    passed: usize,
    skipped: usize,
    failures: Vec<String>,
}

impl Score {
    /// Runs every line of `text`. An error names the line that is no case.
    fn run(&mut self, text: &str) -> Result<(), String> {
        let deviations = deviations();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let case: Case =
                serde_json::from_str(line).map_err(|e| format!("line {}: {e}", number + 1))?;
            if deviations.contains(case.id.as_str()) {
                self.skipped += 1;
                continue;
            }
            match case.judge(answer(&case)) {
                None => self.skipped += 1,
                Some(Ok(())) => self.passed += 1,
                Some(Err(line)) => self.failures.push(line),
            }
        }
        Ok(())
    }

    fn sum(&self) -> String {
        let (passed, failed) = (self.passed, self.failures.len());
        format!("conformance: {passed} passed, {failed} failed, {} skipped", self.skipped)
    }
}

fn deviations() -> BTreeSet<&'static str> {
    let items = DEVIATIONS.lines().filter_map(|line| line.strip_prefix("- "));
    items.filter_map(|item| item.split_once(':')).map(|(id, _)| id.trim()).collect()
}

/// What we make of a case.
fn answer(case: &Case) -> Answer {
    let (family, _) = case.op.split_once('.').unwrap_or((&case.op, ""));
    match family {
        "constraint" => constraint::answer(case),
        "generic" | "schedule" => schedule::answer(case),
        "compose" | "volume" => compose::answer(case),
        "ports" => allocation::answer(case),
        "service" | "raft" => spec::answer(case),
        "restart" | "update" | "global" | "history" => lifecycle::answer(case),
        _ => value::answer(case),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_cases_pass() {
        let mut score = Score::default();
        score.run(include_str!("cases.jsonl")).unwrap();
        assert_eq!(score.failures, Vec::<String>::new());
        assert!(score.passed > 0);
    }

    #[test]
    fn every_deviation_says_why() {
        for item in DEVIATIONS.lines().filter_map(|line| line.strip_prefix("- ")) {
            let reason = item.split_once(": ").map(|(_, reason)| reason.trim());
            assert!(reason.is_some_and(|reason| reason.len() > 20), "{item}");
        }
    }

    #[test]
    fn a_wrong_answer_is_a_failure_and_an_unknown_operation_is_skipped() {
        let mut score = Score::default();
        let wrong = r#"{"id":"a","op":"duration.parse","input":"10s","expect":{"ok":true,"ns":1}}"#;
        let unknown = r#"{"id":"b","op":"no.such","input":1,"expect":2}"#;
        score.run(&format!("{wrong}\n{unknown}\n")).unwrap();
        assert_eq!(
            score.failures,
            ["a: expected {\"ns\":1,\"ok\":true}, got {\"ns\":10000000000,\"ok\":true}"]
        );
        assert_eq!(score.sum(), "conformance: 0 passed, 1 failed, 1 skipped");
    }
}
