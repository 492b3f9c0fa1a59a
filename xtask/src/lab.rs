//! `swarmctl`, pointed at a lab or at one of its nodes. Called by `quickstart` and `bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// One host of a lab.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub name: String,
    pub address: String,
    /// Of its `swarmd`, while it runs.
    pub pid: Option<u32>,
}

/// A lab by name, and the programs that it is made with.
#[derive(Debug, Clone)]
pub struct Lab {
    programs: PathBuf,
    name: String,
}

impl Lab {
    /// Nothing is made yet.
    pub fn new(programs: &Path, name: &str) -> Self {
        Self { programs: programs.to_owned(), name: name.to_owned() }
    }

    /// `swarmctl lab …` of this lab.
    pub fn lab(&self, words: &[&str]) -> Command {
        let mut command = self.swarmctl();
        command.arg("lab").args(words).env("SWARM_LAB", &self.name);
        command
    }

    /// `swarmctl …` asking this node; its name must be one of the lab's.
    pub fn on(&self, node: &str, words: &[&str]) -> Result<Command> {
        let export = process::capture(&mut self.lab(&["env", node]))?;
        let host = export.trim().strip_prefix("export SWARM_HOST=");
        let host = host.with_context(|| format!("swarmctl lab env {node} said {export}"))?;
        let mut command = self.swarmctl();
        command.args(words).env("SWARM_HOST", host);
        Ok(command)
    }

    /// Its hosts.
    pub fn hosts(&self) -> Result<Vec<Host>> {
        let words = ["ls", "--name", &self.name, "--format", "json"];
        let text = process::capture(&mut self.lab(&words))?;
        text.lines().map(host).collect()
    }

    fn swarmctl(&self) -> Command {
        let mut command = Command::new(self.programs.join("swarmctl"));
        // What the caller's shell points at is no concern of this lab.
        command.env_remove("SWARM_HOST").current_dir(crate::workspace::root());
        command
    }
}

fn host(line: &str) -> Result<Host> {
    let value: Value = serde_json::from_str(line).context("read what swarmctl lab ls says")?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let state = text("State");
    let pid = state.strip_prefix("running (pid ").and_then(|rest| rest.strip_suffix(')'));
    Ok(Host {
        name: text("Node"),
        address: text("Address"),
        pid: pid.and_then(|pid| pid.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_from_the_list() {
        let line = r#"{"Address":"198.18.0.11","Node":"m1","State":"running (pid 77)"}"#;
        let expected = |state: Option<u32>| Host {
            name: "m1".into(),
            address: "198.18.0.11".into(),
            pid: state,
        };
        assert_eq!(host(line).unwrap(), expected(Some(77)));
        assert_eq!(host(&line.replace("running (pid 77)", "stopped")).unwrap(), expected(None));
        assert!(host("no such lab").is_err());
    }
}
