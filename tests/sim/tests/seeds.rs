//! A few seeds of every scenario in each test run; `cargo xtask sim` runs as many as one likes.
#![allow(clippy::unwrap_used, reason = "a test states its expectations so")]

use std::process::Command;

fn sim(words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_swarm-sim")).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

fn run(words: &[&str]) -> String {
    let (passed, text) = sim(words);
    assert!(passed, "{text}");
    println!("{text}");
    text
}

#[test]
fn fifty_seeds_of_everything_going_wrong_break_no_law() {
    run(&["--scenario", "chaos", "--seeds", "50", "--storm", "5"]);
}

#[test]
fn whole_managers_come_to_rest_with_every_service_running() {
    run(&["--scenario", "managers", "--seeds", "6", "--storm", "8"]);
}

#[test]
fn a_connected_quorum_elects_past_an_old_leader() {
    run(&["--scenario", "old-leader", "--seeds", "3"]);
}

#[test]
fn equal_election_timeouts_do_not_tie_for_ever() {
    run(&["--scenario", "equal-timeouts", "--seeds", "3"]);
}

#[test]
fn disks_that_lie_are_found_out() {
    let (passed, text) = sim(&["--scenario", "lying-disks", "--seeds", "4", "--storm", "5"]);
    assert!(!passed && text.contains("VIOLATION"), "{text}");
}

#[test]
fn a_seed_reproduces_exactly() {
    for (scenario, seed) in [("chaos", "3"), ("chaos", "4"), ("managers", "3")] {
        let words = ["--scenario", scenario, "--seed", seed, "--storm", "5"];
        // The line ends with the number of events and their hash.
        assert_eq!(run(&words), run(&words));
    }
}

#[test]
fn seeds_differ() {
    let trace = |seed| run(&["--seed", seed, "--storm", "3"]).rsplit(' ').next().map(str::to_owned);
    assert_ne!(trace("1"), trace("2"));
}

#[test]
fn what_cannot_be_run_is_refused() {
    let (passed, text) = sim(&["--scenario", "peace"]);
    assert!(!passed && text.contains("there is no scenario peace"), "{text}");
    let (passed, text) = sim(&["--seed", "many"]);
    assert!(!passed && text.contains("--seed many: not a number"), "{text}");
}
