//! Speed of the store on this machine's disk, every replica a process of its own, the processes
//! connected over loopback TCP. The clients are tasks in the leader's process.
//!
//! `measure FOLDER [writes|failover|reopen|tables]…` makes its files in FOLDER, which must not
//! exist, and removes it. One line per figure: its name, its unit and its values, with tabs between.
//! `cargo xtask bench store` runs it and makes a table of that.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

mod group;
mod load;
mod member;
mod tcp;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use group::Group;

/// How long each load lasts.
const RUN: Duration = Duration::from_secs(4);
const CLIENTS: [usize; 3] = [1, 16, 256];
/// How often the leader is killed.
const KILLS: u64 = 100;
/// Stored, and written, before a replica is opened again.
const REOPEN: (usize, usize) = (100_000, 1_000_000);

/// Removed also when a measurement fails.
struct Folder(PathBuf);

impl Folder {
    fn new(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn figure(name: &str, unit: &str, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
    println!("{name}\t{unit}\t{}", values.join(","));
}

/// Appends of 256 bytes, each on disk before the next, per second.
fn raw_syncs(dir: &Path) -> f64 {
    let mut file = std::fs::File::create(dir.join("raw")).unwrap();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 256]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn numbers<const N: usize>(answer: &str) -> [f64; N] {
    let numbers: Vec<f64> = answer.split(' ').map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn writes(dir: &Path) {
    for managers in [1, 3] {
        for clients in CLIENTS {
            let folder = Folder::new(&dir.join(format!("writes-{managers}-{clients}")));
            let mut group = Group::start(&folder.0, managers);
            let before = raw_syncs(&folder.0);
            let answer = group.leader().ask(&format!("load {clients} {}", RUN.as_millis()));
            let raw = f64::midpoint(before, raw_syncs(&folder.0));
            let [rate, p50, p99, commands] = numbers(&answer);
            let name = format!("{clients} clients, {managers} managers");
            figure(&format!("{name}: durable writes"), "/s", &[rate]);
            figure(&format!("{name}: p50"), "ms", &[p50]);
            figure(&format!("{name}: p99"), "ms", &[p99]);
            figure(&format!("{name}: writes per log entry"), "", &[rate / commands]);
            figure(&format!("{name}: raw fdatasync"), "/s", &[raw]);
            figure(&format!("{name}: times raw fdatasync"), "x", &[rate / raw]);
        }
    }
}

fn failover(dir: &Path) {
    let folder = Folder::new(&dir.join("failover"));
    let mut group = Group::start(&folder.0, 3);
    let mut took = Vec::new();
    for round in 0..KILLS {
        let leader = group.settle();
        // Between heartbeats at another moment each time.
        std::thread::sleep(Duration::from_millis(300 + round * 37 % 150));
        took.push(group.kill_and_write(leader, round).as_secs_f64());
        group.restart(leader);
    }
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    figure(&format!("next write after {KILLS} kills of the leader: p50"), "s", &[at(50)]);
    figure(&format!("next write after {KILLS} kills of the leader: p99"), "s", &[at(99)]);
    figure(&format!("next write after {KILLS} kills of the leader: most"), "s", &[at(100)]);
}

fn reopen(dir: &Path) {
    let folder = Folder::new(&dir.join("reopen"));
    let mut group = Group::start(&folder.0, 1);
    let (tasks, writes) = REOPEN;
    let version = group.leader().ask(&format!("fill {tasks} {writes}"));
    figure("written before the reopening: log entries", "", &[version.parse().unwrap()]);
    let bytes: u64 = std::fs::read_dir(folder.0.join("m1"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    figure(&format!("disk of {tasks} tasks after {writes} writes"), "MB", &[bytes as f64 / 1e6]);
    group.kill(1);
    group.restart(1);
    let answer = group.leader().ask("opened");
    let [seconds, found] = numbers(&answer);
    assert_eq!(found, tasks as f64, "tasks found after the kill");
    figure(&format!("reopen {tasks} tasks after {writes} writes and a kill"), "s", &[seconds]);
}

fn parent(dir: &Path, chosen: &[String]) {
    let folder = Folder::new(dir);
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    if wanted("writes") {
        writes(&folder.0);
    }
    if wanted("tables") {
        load::apply();
        load::memory();
    }
    if wanted("reopen") {
        reopen(&folder.0);
    }
    if wanted("failover") {
        failover(&folder.0);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((verb, rest)) if verb == "member" => member::run(rest),
        Some((dir, chosen)) => parent(Path::new(dir), chosen),
        None => println!("usage: measure FOLDER [writes|failover|reopen|tables]…"),
    }
}
