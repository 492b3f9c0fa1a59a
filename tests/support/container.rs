//! Containers of a cluster seen from the machine: commands and sockets of the test within them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::command::Outcome;
use crate::wait::eventually;

/// A running container of a service's task.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its node.
    pub node: String,
    /// `service.slot.id` of its task.
    pub task: String,
    /// Of its first process, on this machine.
    pub pid: u32,
}

impl Container {
    /// Runs a shell line in the container: its files, network, processes and names.
    pub fn run(&self, line: &str) -> Outcome {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-m", "-u", "-i", "-n", "-p", "-r", "-w"]);
        command.args(["--", "/bin/sh", "-c", line]);
        command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
        Outcome::of(&mut command)
    }

    /// Runs `work` in the container's network: sockets made there are the container's.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.pid);
        let namespace = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).expect("tests run as root");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Its IPv4 addresses but loopback, in the order of its links.
    pub fn addresses(&self) -> Vec<String> {
        let shown = self.run("ip -4 -o addr").ok();
        let words = shown.lines().filter_map(|line| line.split_whitespace().nth(3));
        let plain = words.filter_map(|word| word.split('/').next()).map(str::to_owned);
        plain.filter(|address| !address.starts_with("127.")).collect()
    }

    /// Its only address.
    pub fn address(&self) -> String {
        let addresses = self.addresses();
        assert_eq!(addresses.len(), 1, "{self:?}");
        addresses[0].clone()
    }

    /// The addresses that a name has in the container; the resolver's words if it has none.
    pub fn resolve(&self, name: &str) -> Result<BTreeSet<String>, String> {
        let answer = self.run(&format!("nslookup -type=a {name}"));
        let all = format!("{}{}", answer.stdout, answer.stderr);
        // The server's own address comes first.
        let (_, found) = all.split_once("\n\n").unwrap_or_default();
        let addresses = found.lines().filter_map(|line| line.strip_prefix("Address: "));
        let addresses: BTreeSet<String> = addresses.map(str::to_owned).collect();
        if addresses.is_empty() { Err(all) } else { Ok(addresses) }
    }
}

impl Cluster {
    /// The running containers of a service, by task name.
    pub fn containers_of(&self, service: &str) -> Vec<Container> {
        let nodes = self.lab().nodes().iter();
        let mut found: Vec<Container> =
            nodes.flat_map(|host| containers_on(self, &host.name, service)).collect();
        found.sort_by(|a, b| a.task.cmp(&b.task));
        found
    }

    /// A container of a service on a node, once there is one.
    pub fn container(&self, service: &str, node: &str) -> Container {
        eventually(&format!("{service} has a container on {node}"), || {
            let all = self.containers_of(service);
            all.iter().find(|c| c.node == node).cloned().ok_or_else(|| format!("{all:?}"))
        })
    }
}

fn containers_on(cluster: &Cluster, node: &str, service: &str) -> Vec<Container> {
    let state = cluster.state_dir(node).join("containers");
    let run = cluster.state_dir(node).with_file_name("run").join("containers");
    let entries = std::fs::read_dir(&state).into_iter().flatten();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ids.filter_map(|id| {
        let record = std::fs::read(state.join(&id).join("record.json")).ok()?;
        let record: Value = serde_json::from_slice(&record).ok()?;
        if record.pointer("/spec/labels/com.docker.swarm.service.name")? != service {
            return None;
        }
        // The folder at run time is named by the beginning of the id.
        let pid = std::fs::read_to_string(run.join(id.get(..16)?).join("pid")).ok()?;
        let pid = pid.trim().parse().ok()?;
        let task = record.get("name")?.as_str()?.to_owned();
        is_alive(pid).then(|| Container { node: node.to_owned(), task, pid })
    })
    .collect()
}

/// Neither gone nor a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let stat = stat.unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
