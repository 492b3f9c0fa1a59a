//! The command line: which scenario, which seeds.

use crate::scenario::SCENARIOS;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many, counting up.
    pub seeds: u64,
    /// One of [`SCENARIOS`].
    pub scenario: String,
    /// How long things go wrong, simulated seconds; where a scenario has such a time.
    pub storm: u64,
    /// Whether every event is printed.
    pub verbose: bool,
}

impl Options {
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let scenario = SCENARIOS[0].name.to_owned();
        let mut options = Options { seed: 1, seeds: 1, scenario, storm: 30, verbose: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| format!("{word} needs a value\n{}", usage()));
            match word.as_str() {
                "--seed" => options.seed = number(word, value()?)?,
                "--seeds" => options.seeds = number(word, value()?)?.max(1),
                "--scenario" => options.scenario = value()?.clone(),
                "--storm" => options.storm = number(word, value()?)?,
                "--verbose" => options.verbose = true,
                _ => return Err(format!("there is no option {word}\n{}", usage())),
            }
        }
        match SCENARIOS.iter().any(|s| s.name == options.scenario) {
            true => Ok(options),
            false => Err(format!("there is no scenario {}\n{}", options.scenario, usage())),
        }
    }
}

fn number(option: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{option} {value}: not a number"))
}

fn usage() -> String {
    let mut text = "usage: swarm-sim [--seed S] [--seeds N] [--scenario NAME] [--storm SECONDS]\n\
                    [--verbose]\n\
                    scenarios:"
        .to_owned();
    for scenario in SCENARIOS {
        text.push_str(&format!("\n  {:<14} {}", scenario.name, scenario.about));
    }
    text
}
