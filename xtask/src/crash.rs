//! `cargo xtask crash`: kills and power cuts of the store, many more than a test run has time for.
//! The tests themselves are those of `crates/raft-store`.

use anyhow::{Context, Result, bail};

use crate::process::{self, cargo};

const USAGE: &str = "usage: cargo xtask crash [--cycles N] [--seed S] [--backend redb|sled]";
const TESTS: [&str; 3] =
    ["replica::tests::crash", "replica::tests::power", "replica::tests::flips"];
/// What the other backend goes through: the consensus library's suite, and kills.
const SLED_TESTS: [&str; 1] = ["over_sled"];

/// Runs `--cycles` kills, half as many power cuts, and flips every byte of a small log and snapshot.
pub fn run(words: &[String]) -> Result<()> {
    let (mut cycles, mut seed, mut sled) = (2000_u64, 1_u64, false);
    for pair in words.chunks(2) {
        let [name, value] = pair else { bail!("{} has no value\n\n{USAGE}", pair[0]) };
        let number = || value.parse().with_context(|| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--cycles" => cycles = number()?,
            "--seed" => seed = number()?,
            "--backend" if value == "redb" => sled = false,
            "--backend" if value == "sled" => sled = true,
            "--backend" => bail!("there is no backend {value}: redb or sled\n\n{USAGE}"),
            _ => bail!("there is no option {name}\n\n{USAGE}"),
        }
    }
    let mut command = cargo();
    command.env("SWARM_CRASH_CYCLES", cycles.to_string());
    command.env("SWARM_CRASH_SEED", seed.to_string());
    command.args(["test", "--locked", "--package", "swarm-raft-store", "--lib"]);
    if sled {
        command.args(["--features", "sled", "--"]).args(SLED_TESTS);
    } else {
        command.arg("--").args(TESTS);
    }
    process::run(command.args(["--nocapture", "--test-threads=1"]))
}
