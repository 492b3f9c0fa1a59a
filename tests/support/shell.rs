//! Shell lines as a user types them, with `swarmctl` on the path and pointed at a node.

use std::process::Command;

use crate::cluster::Cluster;
use crate::command::{Outcome, binary};

/// What serves its container's hostname on port 80.
const WEB: &str =
    "busybox sh -c 'mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w'";

impl Cluster {
    /// Runs a shell line on this machine; `swarmctl` in it talks to `node` and this lab.
    pub fn shell(&self, node: &str, line: &str) -> Outcome {
        Outcome::of(&mut self.shell_command(node, line))
    }

    /// The command itself.
    pub fn shell_command(&self, node: &str, line: &str) -> Command {
        let swarmctl = binary("swarmctl");
        let dir = swarmctl.parent().expect("binaries are in a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .env("PATH", format!("{dir}:{path}"))
            .env("SWARM_HOST", self.lab().env(node).expect("a node of the lab"))
            .env("SWARM_LAB", self.lab().name())
            .env("SWARM_LAB_ROOT", self.lab().folder().parent().expect("the root of labs"));
        command
    }

    /// `service create -d FLAGS` on m1; the tasks sleep, and end at once when they are stopped.
    pub fn sleepers(&self, name: &str, flags: &str) {
        self.start_service(name, flags, "busybox sleep 1000");
    }

    /// The same with tasks that serve their container's hostname over HTTP on port 80.
    pub fn web(&self, name: &str, flags: &str) {
        self.start_service(name, flags, WEB);
    }

    fn start_service(&self, name: &str, flags: &str, image: &str) {
        let line =
            format!("swarmctl service create -d --stop-signal KILL --name {name} {flags} {image}");
        self.shell("m1", &line).ok();
    }
}
