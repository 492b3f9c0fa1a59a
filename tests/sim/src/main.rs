//! Whole groups of managers in one thread, on a network, clocks and disks that a seed decides over.
//!
//! Each seed runs in a process of its own, because a run must depend on nothing that another has
//! left behind. Called by `cargo xtask sim` and by the test beside it. It draws no conclusions about
//! speed: time here is simulated.

mod agent;
mod chance;
mod client;
mod command;
mod fault;
mod history;
mod host;
mod law;
mod membership;
mod network;
mod operator;
mod scenario;
mod spread;
mod trace;
mod world;

use std::process::ExitCode;

use command::Options;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("swarm-sim: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let passed = match options.seeds {
        1 => scenario::run_one(&options),
        _ => spread::run_all(&options),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
