//! `cargo xtask VERB`: everything that is done to this repository by a command. Called by people and
//! by `.ci/run`. Holds no behaviour of the product; drives it only through its binaries.
#![forbid(unsafe_code)]

mod bench;
mod conformance;
mod crash;
mod fix;
mod lab;
mod process;
mod quickstart;
mod setup;
mod sim;
mod test;
mod tidy;
mod verify;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask VERB

  setup              install what building, running and testing need (apt, as root)
  quickstart         three nodes on this machine with a real stack on them
  test [FILTER…]     setup, then every test (or those whose names match)
  verify             format, lints, house rules, tests: changes nothing, what CI runs
  fix                the same, mending what can be mended; runs no tests
  tidy               the house rules alone
  bench [--peer [SCRIPT]]  speed and memory; with --peer also Docker's, in the same run
  bench store [WHAT…]  the store alone: durable writes, failover, reopening, tables
  conformance FILE…  cases of the incumbent's formats, against our parsers and passes
  crash [--cycles N] [--seed S] [--backend redb|sled]
                     kill the store and cut its power so often: nothing may be lost
  sim [--seed S] [--seeds N] [--scenario NAME] [--verbose]  managers on a simulated network
  vm                 the daemon on an emulated machine with cgroup version 2 alone (minutes)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let Some((verb, rest)) = words.split_first() else { bail!("{USAGE}") };
    let takes_words = matches!(verb.as_str(), "test" | "bench" | "conformance" | "crash" | "sim");
    if !takes_words && let Some(word) = rest.first() {
        bail!("{verb} takes no arguments, but got {word}\n\n{USAGE}");
    }
    match verb.as_str() {
        "setup" => setup::run(),
        "quickstart" => quickstart::run(),
        "test" => test::run(rest),
        "verify" => verify::run(),
        "fix" => fix::run(),
        "tidy" => tidy::run(),
        "bench" => bench::run(rest),
        "conformance" => conformance::run(rest),
        "crash" => crash::run(rest),
        "sim" => sim::run(rest),
        "vm" => vm::run(),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("there is no verb {verb}\n\n{USAGE}"),
    }
}
