//! Measurements by example programs of the packages: built, run, their figures read as they come.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::report::{Line, Report};
use crate::process::{self, cargo};
use crate::workspace;

/// Builds an example of a package in release mode and runs it as `prepare` says. Every line that is
/// no figure is shown as it is.
pub fn measure(
    package: &str,
    example: &str,
    report: &mut Report,
    prepare: impl FnOnce(&mut Command),
) -> Result<()> {
    let chosen = ["--package", package, "--example", example];
    process::run(cargo().args(["build", "--release", "--locked"]).args(chosen))?;
    let program = workspace::metadata()?.target.join("release/examples").join(example);
    let mut command = Command::new(program);
    prepare(&mut command);
    command.stdout(Stdio::piped());
    println!("$ {}", process::line(&command));
    let mut child = command.spawn().context("run the measurement")?;
    let out = child.stdout.take().context("the measurement has no output")?;
    for line in BufReader::new(out).lines() {
        let line = line.context("read the measurement")?;
        match Line::parse(&line) {
            Some(figure) => report.add(figure),
            None => println!("{line}"),
        }
    }
    let status = child.wait().context("wait for the measurement")?;
    if !status.success() {
        bail!("the measurement failed ({status})");
    }
    Ok(())
}
