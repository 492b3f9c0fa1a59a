//! A cluster that can be measured, and ours as one. Called by [`measure`](super::measure).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::memory::{self, Weight};
use crate::lab::Lab;
use crate::{process, workspace};

/// The image that all measured tasks run, present on every node before the clock starts.
pub const IMAGE: &str = "busybox:latest";
const LAB: &str = "bench";

/// What a measurement needs of a cluster. Dropping it takes the cluster down.
pub trait System {
    /// As reports call it.
    fn name(&self) -> &'static str;
    /// Brings up a cluster of so many managers, with the image on each.
    fn up(&mut self, nodes: usize) -> Result<()>;
    /// Removes whatever is up.
    fn down(&mut self);
    /// Its client, asking the first node. Both clients know the same words.
    fn client(&self, words: &[&str]) -> Result<Command>;
    /// Flags that `service create` needs besides.
    fn create_flags(&self) -> &'static [&'static str];
    /// What the daemons of the first node weigh, and its tasks' supervisors.
    fn weigh(&self) -> Result<Weight>;
}

/// This project, in a lab.
pub struct Ours {
    lab: Lab,
    image: PathBuf,
    up: bool,
}

impl Ours {
    /// With the release binaries; makes the image.
    pub fn new(target: &Path) -> Result<Self> {
        let image = target.join("demo/busybox.tar");
        let mut make = Command::new("deploy/demo/busybox.sh");
        process::run(make.current_dir(workspace::root()).arg(&image))?;
        Ok(Self { lab: Lab::new(&target.join("release"), LAB), image, up: false })
    }
}

impl System for Ours {
    fn name(&self) -> &'static str {
        "swarm"
    }

    fn up(&mut self, nodes: usize) -> Result<()> {
        self.down();
        self.up = true;
        process::run(&mut self.lab.lab(&["up", "--managers", &nodes.to_string()]))?;
        let image = self.image.to_str().context("the target folder's path is not UTF-8")?;
        for host in self.lab.hosts()? {
            let load = ["image", "load", "--quiet", "-i", image];
            process::capture(&mut self.lab.on(&host.name, &load)?)?;
        }
        Ok(())
    }

    fn down(&mut self) {
        // Also what an earlier run, that was killed, has left.
        let _ = process::succeeds(&mut self.lab.lab(&["down"]));
        self.up = false;
    }

    fn client(&self, words: &[&str]) -> Result<Command> {
        self.lab.on("m1", words)
    }

    fn create_flags(&self) -> &'static [&'static str] {
        &[]
    }

    fn weigh(&self) -> Result<Weight> {
        let hosts = self.lab.hosts()?;
        let first = hosts.iter().find(|host| host.name == "m1").context("there is no m1")?;
        let daemon = first.pid.context("swarmd does not run on m1")?;
        let place = format!("/{LAB}/m1/");
        let shims = memory::processes().into_iter().filter(|process| {
            process.program() == "swarmd-shim" && process.words.iter().any(|w| w.contains(&place))
        });
        Ok(Weight::of(&[daemon], &shims.map(|process| process.pid).collect::<Vec<_>>()))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if self.up {
            self.down();
        }
    }
}
