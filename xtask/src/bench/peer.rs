//! Docker in swarm mode as a cluster to measure, brought up by a script of its own. Called by
//! [`run`](super::run).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::memory::{self, Process, Weight};
use super::system::System;
use crate::{process, setup};

/// The script keeps each daemon's files in a folder of this name, which is on its command line.
const FOLDER: &str = "docker-swarm-lab";

/// The script turns this off for the whole machine; it is put back afterwards.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

const CGROUPS: &str = "/sys/fs/cgroup";

/// Docker daemons in namespaces, as the script makes them.
pub struct Docker {
    script: PathBuf,
    nodes: usize,
    bridge_filter: Option<String>,
}

impl Docker {
    /// `Err` inside says why there can be none here. Installs Debian's docker.io where it is missing.
    pub fn find(script: &Path) -> Result<std::result::Result<Self, String>> {
        if !script.is_file() {
            return Ok(Err(format!("there is no script {}", script.display())));
        }
        if !process::is_installed("dockerd") {
            println!("bench: this machine lacks docker.io, the peer");
            if let Err(error) = setup::install(&["docker.io"]) {
                return Ok(Err(format!("docker.io cannot be installed: {error:#}")));
            }
        }
        let script = script.canonicalize().context("find the script")?;
        let bridge_filter = std::fs::read_to_string(BRIDGE_FILTER).ok();
        Ok(Ok(Self { script, nodes: 0, bridge_filter }))
    }

    fn script(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(words);
        command
    }
}

/// The daemons' cgroups, which the script leaves, in every hierarchy.
fn remove_cgroups(node: usize) {
    let hierarchies = std::fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let roots = hierarchies.map(|entry| entry.path()).chain([PathBuf::from(CGROUPS)]);
    roots.for_each(|root| remove_empty(&root.join(format!("dsl{node}"))));
}

/// Removes folders from the innermost outwards; a cgroup in use stays.
fn remove_empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

impl System for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn up(&mut self, nodes: usize) -> Result<()> {
        self.down();
        self.nodes = nodes;
        process::capture(&mut self.script(&["up", &nodes.to_string()]))?;
        let text =
            process::capture(&mut self.client(&["node", "ls", "--format", "{{.Status}}"])?)?;
        let ready = text.lines().filter(|line| line.trim() == "Ready").count();
        if ready != nodes {
            bail!("{ready} of {nodes} Docker nodes are ready");
        }
        Ok(())
    }

    fn down(&mut self) {
        if self.nodes > 0 {
            let _ = process::capture(&mut self.script(&["down", &self.nodes.to_string()]));
            (1..=self.nodes).for_each(remove_cgroups);
        }
        self.nodes = 0;
    }

    fn client(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.script(&["d", "1"]);
        command.args(words);
        Ok(command)
    }

    fn create_flags(&self) -> &'static [&'static str] {
        // There is no registry to ask.
        &["--no-resolve-image"]
    }

    fn weigh(&self) -> Result<Weight> {
        let all = memory::processes();
        let place = format!("{FOLDER}/n1/");
        let is_first = |p: &&Process| {
            p.program() == "dockerd" && p.words.iter().any(|word| word.contains(&place))
        };
        let daemon = all.iter().find(is_first).context("dockerd does not run on node 1")?;
        let below = |name: &str| -> Vec<u32> {
            let same = all.iter().filter(|p| p.mounts == daemon.mounts && p.program() == name);
            same.map(|p| p.pid).collect()
        };
        let mut daemons = below("containerd");
        daemons.push(daemon.pid);
        Ok(Weight::of(&daemons, &below("containerd-shim-runc-v2")))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.down();
        if let Some(value) = &self.bridge_filter {
            let _ = std::fs::write(BRIDGE_FILTER, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_folders_are_removed() {
        let root = std::env::temp_dir().join(format!("xtask-peer-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("c")).unwrap();
        std::fs::write(root.join("c/file"), "").unwrap();
        remove_empty(&root);
        let (a, c) = (root.join("a").exists(), root.join("c").exists());
        std::fs::remove_dir_all(&root).unwrap();
        assert!(!a && c);
    }
}
