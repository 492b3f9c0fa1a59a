//! The measurements, the same for every system: through its own client, as a user sees it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::memory;
use super::report::{Line, Report};
use super::system::{IMAGE, System};
use crate::process;

/// What every measured task does. The number marks our processes among all of the machine.
const TASK: [&str; 2] = ["sleep", "86397"];
/// Nobody waits for a task that ignores SIGTERM.
const FLAGS: [&str; 2] = ["--stop-grace-period", "1s"];
/// Nodes, tasks, and how often: the middle of several runs is told.
const SPEEDS: &[(usize, usize, usize)] = &[(1, 1, 5), (1, 10, 3), (1, 100, 3), (3, 30, 3)];
/// The slowest peer needs half a minute for its largest.
const PATIENCE: Duration = Duration::from_secs(180);
/// A machine on which others work never gets calm.
const CALM: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Measures a system from nothing to nothing.
pub fn all(system: &mut dyn System, report: &mut Report) -> Result<()> {
    let mut nodes_up = 0;
    for &(nodes, tasks, runs) in SPEEDS {
        if nodes != nodes_up {
            system.up(nodes)?;
            nodes_up = nodes;
            // Unpacks the image and makes what every first task needs.
            warm_up(system, nodes)?;
            if nodes == 1 {
                weigh(system, 0, report)?;
            }
        }
        let mut seconds = Vec::new();
        for run in 0..runs {
            let last = run + 1 == runs;
            let name = format!("bench-{tasks}-{run}");
            seconds.push(create(system, &name, tasks)?);
            if last && tasks == 100 {
                weigh(system, tasks, report)?;
            }
            remove(system, &name)?;
        }
        report.add(Line::speed(system.name(), nodes, tasks, seconds));
    }
    system.down();
    Ok(())
}

fn warm_up(system: &dyn System, nodes: usize) -> Result<()> {
    create(system, "bench-warm", 4 * nodes)?;
    remove(system, "bench-warm")
}

/// Seconds from the client's start until its list says that all tasks run.
fn create(system: &dyn System, name: &str, tasks: usize) -> Result<f64> {
    let count = tasks.to_string();
    let mut words = vec!["service", "create", "--detach", "--name", name, "--replicas", &count];
    words.extend(FLAGS);
    words.extend(system.create_flags());
    words.push(IMAGE);
    words.extend(TASK);
    let mut make = system.client(&words)?;
    let filter = format!("name={name}");
    let mut look =
        system.client(&["service", "ls", "--filter", &filter, "--format", "{{.Replicas}}"])?;
    let wanted = format!("{tasks}/{tasks}");
    let start = Instant::now();
    process::capture(&mut make)?;
    loop {
        let seen = process::capture(&mut look)?;
        if seen.trim() == wanted {
            return Ok(start.elapsed().as_secs_f64());
        }
        if start.elapsed() > PATIENCE {
            let seen = seen.trim();
            bail!("{} had {seen} tasks of {name} after {PATIENCE:?}", system.name());
        }
        sleep(PAUSE);
    }
}

/// Removes a service and waits until nothing of it is left to disturb the next measurement.
fn remove(system: &dyn System, name: &str) -> Result<()> {
    process::capture(&mut system.client(&["service", "rm", name])?)?;
    let start = Instant::now();
    while memory::processes().iter().any(|process| process.words.ends_with(&TASK.map(String::from)))
    {
        if start.elapsed() > PATIENCE {
            bail!("{} still runs tasks of {name} after {PATIENCE:?}", system.name());
        }
        sleep(Duration::from_millis(100));
    }
    wait_until_calm();
    Ok(())
}

/// Containers are cleared away after their process is gone: waits for an idle processor.
fn wait_until_calm() {
    let start = Instant::now();
    while start.elapsed() < CALM {
        let Ok(before) = busy_ticks() else { return };
        sleep(Duration::from_millis(500));
        // A tick is 10 ms; a tenth of one processor is calm.
        if busy_ticks().is_ok_and(|after| after.saturating_sub(before) < 5) {
            return;
        }
    }
}

/// Time all processors spent working so far.
fn busy_ticks() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let numbers = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    let idle: u64 = numbers.iter().skip(3).take(2).sum();
    Ok(numbers.iter().take(8).sum::<u64>().saturating_sub(idle))
}

fn weigh(system: &dyn System, tasks: usize, report: &mut Report) -> Result<()> {
    let weight = system.weigh()?;
    report.add(Line::daemons(system.name(), tasks, weight.daemons));
    if tasks > 0 && weight.tasks > 0 {
        let each = weight.supervisors as f64 / weight.tasks as f64;
        report.add(Line::supervisor(system.name(), each));
    }
    Ok(())
}
