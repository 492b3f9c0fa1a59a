//! Many seeds, each in a process of its own, as many at a time as there are processors.

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::command::Options;

/// Runs all seeds; true: none broke a law. Prints every failure, and a line of figures at the end.
pub fn run_all(options: &Options) -> bool {
    let start = Instant::now();
    let next = AtomicU64::new(options.seed);
    let end = options.seed.saturating_add(options.seeds);
    let failed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if !run_apart(options, seed) {
                        failed.lock().unwrap_or_else(|e| e.into_inner()).push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    failed.sort_unstable();
    let took = start.elapsed().as_secs_f64();
    println!(
        "{}: seeds {} to {}: {} of {} without a violation, {took:.1} s",
        options.scenario,
        options.seed,
        end - 1,
        options.seeds - failed.len() as u64,
        options.seeds
    );
    for seed in &failed {
        println!(
            "again: cargo xtask sim --scenario {} --storm {} --seed {seed}",
            options.scenario, options.storm
        );
    }
    failed.is_empty()
}

fn run_apart(options: &Options, seed: u64) -> bool {
    let outcome = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["--scenario", &options.scenario, "--seed", &seed.to_string()]);
        command.args(["--storm", &options.storm.to_string()]);
        command.output()
    });
    match outcome {
        Ok(Output { status, stdout, .. }) if status.success() => {
            if options.verbose {
                print!("{}", String::from_utf8_lossy(&stdout));
            }
            true
        }
        Ok(Output { status, stdout, stderr }) => {
            let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
            println!("seed {seed}: {status}\n{out}{err}");
            false
        }
        Err(error) => {
            println!("seed {seed}: cannot be run: {error}");
            false
        }
    }
}
