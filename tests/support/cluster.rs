//! A cluster of real daemons in a lab of its own, driven through the command line.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use swarm_lab::{Lab, Labs};
use tempfile::TempDir;

use crate::command::{Outcome, binary};
use crate::image::busybox;
use crate::wait::eventually;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A cluster that lives as long as this value.
pub struct Cluster {
    name: String,
    root: TempDir,
    lab: Lab,
}

impl Cluster {
    /// Brings hosts up and makes one cluster of them: managers m1, m2, …, workers w1, w2, ….
    pub fn new(managers: u8, workers: u8) -> Self {
        Self::start(managers, workers, false, None)
    }

    /// Hosts with a daemon each that is in no cluster yet.
    pub fn apart(hosts: u8) -> Self {
        Self::start(hosts, 0, true, None)
    }

    /// As [`Self::new`], with daemons that log as much as `level` says.
    pub fn logging(managers: u8, workers: u8, level: &str) -> Self {
        Self::start(managers, workers, false, Some(level))
    }

    fn start(managers: u8, workers: u8, apart: bool, log_level: Option<&str>) -> Self {
        // Not below /run or a tmpfs: overlayfs wants a disk beneath its upper folders.
        let root = TempDir::with_prefix_in("swarm-e2e-", "/var/tmp").expect("a folder for the lab");
        let name = format!("e2e{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut up = Command::new(binary("swarmctl"));
        up.args(["lab", "up", "--name", &name]).env("SWARM_LAB_ROOT", root.path());
        up.args(["--managers", &managers.to_string(), "--workers", &workers.to_string()]);
        if apart {
            up.arg("--no-cluster");
        }
        if let Some(level) = log_level {
            up.env("SWARMD_LOG", level);
        }
        let outcome = Outcome::of(&mut up);
        let lab = Labs::at(root.path()).open(&name);
        if outcome.code != Some(0) || lab.is_err() {
            let _ = Labs::at(root.path()).remove(&name, &|_| {});
            panic!("{}\n{}{}", outcome.line, outcome.stdout, outcome.stderr);
        }
        Self { name, root, lab: lab.expect("checked above") }
    }

    /// The same with the busybox image loaded on m1.
    pub fn with_busybox(managers: u8, workers: u8) -> Self {
        let cluster = Self::new(managers, workers);
        cluster.load_busybox("m1");
        cluster
    }

    /// Loads the busybox image on a node.
    pub fn load_busybox(&self, node: &str) {
        let archive = busybox();
        self.ctl(node, &["image", "load", "-q", "-i", &archive.display().to_string()]).ok();
    }

    /// `swarmctl ARGS`, as given on `node`.
    pub fn ctl(&self, node: &str, args: &[&str]) -> Outcome {
        Outcome::of(&mut self.ctl_command(node, args))
    }

    /// The command itself, for tests that feed or watch it.
    pub fn ctl_command(&self, node: &str, args: &[&str]) -> Command {
        let mut command = Command::new(binary("swarmctl"));
        command
            .args(args)
            .env("SWARM_HOST", self.lab.env(node).expect("a node of the lab"))
            .env_remove("SWARM_LAB");
        command
    }

    /// `swarmctl lab VERB --name THIS ARGS`.
    pub fn lab_verb(&self, verb: &str, args: &[&str]) -> Outcome {
        let mut command = Command::new(binary("swarmctl"));
        command.args(["lab", verb, "--name", &self.name]).args(args);
        Outcome::of(command.env("SWARM_LAB_ROOT", self.root.path()))
    }

    /// The lab beneath.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Address of a node.
    pub fn address(&self, node: &str) -> String {
        let host = self.lab.nodes().iter().find(|h| h.name == node);
        host.unwrap_or_else(|| panic!("no node {node}")).address.to_string()
    }

    /// Ends a node's daemon, gives its host another address, and returns that. The daemon is to be started again.
    pub fn move_host(&mut self, node: &str) -> String {
        let host = self.lab.nodes().iter().find(|h| h.name == node);
        let [a, b, c, last] = host.unwrap_or_else(|| panic!("no node {node}")).address.octets();
        // Between the first managers and the first workers of the lab.
        let address = std::net::Ipv4Addr::new(a, b, c, last + 40);
        self.lab.kill(node).expect("kill");
        self.lab.readdress(node, address).expect("another address");
        address.to_string()
    }

    /// Runs a shell line within a host's namespaces.
    pub fn on_host(&self, node: &str, line: &str) -> Outcome {
        let output = self.lab.exec(node, &["sh", "-c", line]).expect("the host is up");
        Outcome::from_output(format!("{node}: {line}"), output)
    }

    /// The daemon's folder of persistent state on a node.
    pub fn state_dir(&self, node: &str) -> std::path::PathBuf {
        self.root.path().join(&self.name).join(node).join("state")
    }

    /// The node that leads, as `node` sees it.
    pub fn leader(&self, node: &str) -> Result<String, String> {
        let listed =
            self.ctl(node, &["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]);
        let leads = |line: &&str| line.ends_with(" Leader");
        match listed.stdout.lines().find(leads).and_then(|line| line.split(' ').next()) {
            Some(name) => Ok(name.to_owned()),
            None => Err(format!("{}{}", listed.stdout, listed.stderr)),
        }
    }

    /// Waits until `replicas` tasks of a service run.
    pub fn wait_running(&self, node: &str, service: &str, replicas: usize) {
        eventually(&format!("{replicas} tasks of {service} run"), || {
            let running = self.running(node, service);
            match running.len() == replicas {
                true => Ok(()),
                false => Err(self.ctl(node, &["service", "ps", "--no-trunc", service]).stdout),
            }
        });
    }

    /// (task name, node) of the running tasks of a service that shall run.
    pub fn running(&self, node: &str, service: &str) -> Vec<(String, String)> {
        let format = "{{.Name}}|{{.Node}}|{{.DesiredState}}|{{.CurrentState}}";
        let listed = self.ctl(node, &["service", "ps", "--format", format, service]).stdout;
        let mut running: Vec<(String, String)> = listed
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split('|').collect();
                let [name, host, "Running", state] = fields[..] else { return None };
                let name = name.trim_start_matches([' ', '\\', '_']).to_owned();
                state.starts_with("Running").then(|| (name, host.to_owned()))
            })
            .collect();
        running.sort();
        running
    }

    /// Waits until the log of a service, as `node` gets it, contains `text`; returns the log.
    pub fn wait_logged(&self, node: &str, service: &str, text: &str) -> String {
        eventually(&format!("{service} logs {text:?}"), || {
            let logs = self.ctl(node, &["service", "logs", service]);
            let all = format!("{}{}", logs.stdout, logs.stderr);
            if all.contains(text) { Ok(all) } else { Err(all) }
        })
    }

    /// Host pids of the shims of this cluster.
    pub fn shims(&self) -> Vec<u32> {
        let marker = self.root.path().display().to_string();
        let entries = std::fs::read_dir("/proc").expect("/proc");
        let mut shims: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.contains("swarmd-shim") && line.contains(&marker)
            })
            .collect();
        shims.sort_unstable();
        shims
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        if let Err(error) = Labs::at(self.root.path()).remove(&self.name, &|_| {}) {
            eprintln!("lab {}: {error}", self.name);
        }
    }
}

impl Cluster {
    /// The ends of the daemons' logs, for a test that failed.
    fn show_logs(&self) {
        for host in self.lab.nodes() {
            let path = self.lab.log(&host.name).expect("a node of the lab");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- {} ---\n{}", host.name, last.join("\n"));
        }
    }
}
