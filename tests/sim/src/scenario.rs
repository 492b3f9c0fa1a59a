//! What can be run: each scenario is a life of a group, from its founding to the last check.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::chance;
use crate::command::Options;
use crate::world::{Settings, World};

mod chaos;
mod equal_timeouts;
mod managers;
mod old_leader;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    settings: fn(u64) -> Settings,
    run: fn(Arc<World>, Options) -> BoxFuture<'static, Result<String, String>>,
}

/// All there are; the first is what runs unless another is named.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "chaos",
        about: "faults of every kind under load, then healing",
        settings: chaos::settings,
        run: |world, options| Box::pin(chaos::run(world, options)),
    },
    Scenario {
        name: "old-leader",
        about: "a leader without a quorum reaches one of a quorum (databendlabs/openraft#2080)",
        settings: |_| Settings::default(),
        run: |world, _| Box::pin(old_leader::run(world)),
    },
    Scenario {
        name: "equal-timeouts",
        about: "survivors whose election timeouts hardly differ (databendlabs/openraft#1838)",
        settings: equal_timeouts::settings,
        run: |world, _| Box::pin(equal_timeouts::run(world)),
    },
    Scenario {
        name: "managers",
        about: "whole managers with agents and an operator, through the same faults",
        settings: managers::settings,
        run: |world, options| Box::pin(managers::run(world, options)),
    },
    Scenario {
        name: "lying-disks",
        about: "chaos on disks that lie about what is synced: the laws must find it",
        settings: |seed| Settings { lying_disks: true, ..chaos::settings(seed) },
        run: |world, options| Box::pin(chaos::run(world, options)),
    },
];

/// A run takes no longer than this, simulated.
const LONGEST: Duration = Duration::from_secs(900);
/// Deep enough for unoptimised futures.
const STACK: usize = 16 << 20;

/// Set by a panic anywhere: in a task it would go unnoticed.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Runs one seed in this process; true: no law was broken. Prints a line of figures, or what led to
/// the violation.
pub fn run_one(options: &Options) -> bool {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::SeqCst);
        told(info);
    }));
    let options = options.clone();
    let thread = std::thread::Builder::new().stack_size(STACK).name("run".to_owned());
    let run = thread.spawn(move || {
        chance::seed(options.seed);
        live(&options)
    });
    run.is_ok_and(|run| run.join().unwrap_or(false))
}

fn live(options: &Options) -> bool {
    let Some(scenario) = SCENARIOS.iter().find(|s| s.name == options.scenario) else {
        return false;
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = match builder.enable_time().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("there is no runtime: {error}");
            return false;
        }
    };
    runtime.block_on(async {
        let settings = (scenario.settings)(options.seed);
        let world = World::new(options.seed, settings, options.verbose);
        let run = (scenario.run)(Arc::clone(&world), options.clone());
        let run = world.over.run_until_cancelled(run);
        let outcome = match tokio::time::timeout(LONGEST, run).await {
            Ok(outcome) => outcome.unwrap_or_else(|| Ok(String::new())),
            Err(_) => Err(format!("the run has not ended after {LONGEST:?}")),
        };
        report(options, &world, outcome)
    })
}

fn report(options: &Options, world: &World, outcome: Result<String, String>) -> bool {
    let (events, hash) = world.trace.sum();
    let panicked = PANICKED.load(Ordering::SeqCst).then(|| "something panicked".to_owned());
    let broken = world.verdict().or(outcome.as_ref().err().cloned()).or(panicked);
    let Options { seed, scenario, .. } = options;
    let simulated = world.trace.now() as f64 / 1000.0;
    match broken {
        None => {
            let figures = outcome.unwrap_or_default();
            println!(
                "{scenario} {seed}: {figures}, {simulated:.1} s simulated, {events} events, trace \
                 {hash:016x}"
            );
            true
        }
        Some(reason) => {
            world.trace.last().iter().for_each(|line| println!("{line}"));
            println!("{scenario} {seed}: VIOLATION {reason}, trace {hash:016x}");
            false
        }
    }
}
