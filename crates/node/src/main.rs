//! `swarmd`: reads its command line, starts the daemon, ends it on SIGTERM or SIGINT. Containers go on without it.
#![forbid(unsafe_code)]

mod address;
mod args;
mod certificate;
mod custodian;
mod daemon;
mod data_keys;
mod enter;
mod erase;
mod file;
mod front;
mod inspect;
mod leave;
mod listener;
mod member;
mod node_service;
mod place;
mod prompt;
mod recover;
mod state;
mod unlock;
mod upstream;
mod vault;
mod whereabouts;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat, Verb};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = start_log(&args) {
        eprintln!("swarmd: invalid --log-level \"{}\": {error}", args.log_level);
        return ExitCode::from(64);
    }
    // Keys and secrets are in this process's memory: it leaves no core.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "core dumps stay possible");
    }
    if let Some(verb) = &args.verb {
        return done(offline(&args, verb));
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "swarmd ends");
            ExitCode::FAILURE
        }
    }
}

/// What needs no daemon; errors are for the person who asked.
fn offline(args: &Args, verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Recover(wanted) => recover::run(args, wanted),
        Verb::Inspect(wanted) => inspect::run(args, wanted),
    }
}

fn done(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cancel = CancellationToken::new();
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let on_signal = cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping on a signal");
            on_signal.cancel();
        });
        daemon::run(args, cancel).await
    })
}

fn start_log(args: &Args) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&args.log_level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
