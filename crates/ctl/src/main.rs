//! `swarmctl`: reads the command line, runs one command, says what went wrong in one line, and
//! exits.
//!
//! All behaviour lives in the library; this file only knows processes: runtime, streams, exit
//! codes.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let cli = match swarm_ctl::Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) if is_help(&answer) => answer.exit(),
        Err(error) => return swarm_ctl::failure::misused(&error.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return swarm_ctl::failure::report(&error.into()),
    };
    let outcome = runtime.block_on(swarm_ctl::run(cli));
    // A reader of stdin may still be blocked in its thread: nobody waits for it.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => swarm_ctl::failure::report(&error),
    }
}

/// Help, asked for or because nothing was, and the version.
fn is_help(answer: &clap::Error) -> bool {
    !answer.use_stderr() || answer.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}
