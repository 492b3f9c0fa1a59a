//! One lab and what can be done with it. Every verb that changes something holds the lab's lock
//! for as long as it takes, so commands in several processes do not get into each other's way.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::sys::signal::Signal;

use crate::daemon;
use crate::error::LabError;
use crate::host;
use crate::labs::hold;
use crate::layout::Layout;
use crate::lock::{self, Held};
use crate::mounts;
use crate::network;
use crate::progress::{Progress, Step};
use crate::record::{HostRecord, Record};
use crate::removal;
use crate::subnet;
use crate::tool::spawn_error;

/// Whether a host's daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// With this process id.
    Running(i32),
    /// The host is up, its daemon is not.
    Stopped,
    /// The host's namespaces are not there (after a reboot, or half made).
    Down,
}

/// One host as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// Name, role and address.
    pub host: HostRecord,
    /// Whether its daemon runs.
    pub state: HostState,
    /// Its cable is pulled.
    pub cut: bool,
}

/// A handle on a lab; it holds nothing open and may be cloned and dropped at will.
#[derive(Debug, Clone)]
pub struct Lab {
    layout: Layout,
    record: Record,
}

impl Lab {
    pub(crate) fn new(layout: Layout, record: Record) -> Self {
        Self { layout, record }
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The lab's folder with all its files.
    pub fn folder(&self) -> &Path {
        &self.layout.folder
    }

    /// The network all hosts are in.
    pub fn subnet(&self) -> Ipv4Net {
        self.record.subnet
    }

    /// The address of this machine on that network, to be reached from the hosts.
    pub fn machine_address(&self) -> Ipv4Addr {
        subnet::machine(&self.record.subnet)
    }

    /// All hosts as recorded, in the order they were added.
    pub fn nodes(&self) -> &[HostRecord] {
        &self.record.hosts
    }

    /// All hosts as they are now.
    pub fn status(&self) -> Result<Vec<HostStatus>, LabError> {
        let connected = match mounts::is_pin(&self.layout.switch_pin()) {
            true => network::connected(&self.layout)?,
            false => Default::default(),
        };
        let status = |host: &HostRecord| HostStatus {
            host: host.clone(),
            state: self.state(&host.name),
            cut: !connected.contains(&host.name),
        };
        Ok(self.record.hosts.iter().map(status).collect())
    }

    fn state(&self, host: &str) -> HostState {
        match daemon::running(&self.layout, host) {
            Some(pid) => HostState::Running(pid),
            None if host::is_up(&self.layout, host) => HostState::Stopped,
            None => HostState::Down,
        }
    }

    /// The control socket of a host's daemon, on this machine.
    pub fn socket(&self, host: &str) -> Result<PathBuf, LabError> {
        Ok(self.layout.socket(&self.record.host(host)?.name))
    }

    /// The value of `SWARM_HOST` that means this host: `unix:///…`.
    pub fn env(&self, host: &str) -> Result<String, LabError> {
        Ok(format!("unix://{}", self.socket(host)?.display()))
    }

    /// The log of a host's daemon.
    pub fn log(&self, host: &str) -> Result<PathBuf, LabError> {
        Ok(self.layout.log(&self.record.host(host)?.name))
    }

    /// Keeps other processes from forming this lab's cluster meanwhile: held by whoever does
    /// `init` and `join` over the sockets. Does not keep off the other verbs.
    pub fn hold_forming(&self, progress: Progress<'_>) -> Result<Held, LabError> {
        let path = self.layout.folder.join("forming.lock");
        File::create(&path).map_err(LabError::on_path("create", &path))?;
        let waiting = || progress(Step::Waiting { lab: self.record.name.clone() });
        lock::hold(&path, waiting)?.ok_or_else(|| self.gone())
    }

    /// Makes every host and daemon run that does not, also after a reboot of the machine.
    pub fn raise(&self, progress: Progress<'_>) -> Result<(), LabError> {
        let _held = self.hold(progress)?;
        self.raise_held(progress)
    }

    /// The same with the lock held already.
    pub(crate) fn raise_held(&self, progress: Progress<'_>) -> Result<(), LabError> {
        daemon::check(&self.record, &self.layout)?;
        raise_network(&self.layout, &self.record)?;
        let (net, machine) = (self.record.subnet, self.machine_address());
        progress(Step::Network { subnet: net.to_string(), machine: machine.to_string() });
        for host in &self.record.hosts {
            host::write_files(&self.layout, host, &self.record.hosts)?;
            if !host::is_up(&self.layout, &host.name) {
                host::raise(&self.layout, &host.name)?;
                network::plug(&self.layout, host, &net)?;
                host::mark_ready(&self.layout, &host.name)?;
            }
            progress(Step::Host { host: host.name.clone(), address: host.address.to_string() });
        }
        network::settle(&self.layout)?;
        for host in &self.record.hosts {
            let pid = self.start_held(host)?;
            progress(Step::Started { host: host.name.clone(), pid });
        }
        Ok(())
    }

    fn start_held(&self, host: &HostRecord) -> Result<i32, LabError> {
        match daemon::running(&self.layout, &host.name) {
            Some(pid) => Ok(pid),
            None => daemon::start(&self.layout, &self.record, host),
        }
    }

    /// Starts a host's daemon in the namespaces it had before. One that runs is left alone.
    /// Returns its process id.
    pub fn start(&self, host: &str) -> Result<i32, LabError> {
        let (record, _held) = self.begin(host)?;
        self.start_held(record)
    }

    /// Ends a host's daemon with SIGTERM and waits until it is gone. Containers stay.
    pub fn stop(&self, host: &str) -> Result<(), LabError> {
        let (record, _held) = self.begin(host)?;
        daemon::end(&self.layout, &record.name, Signal::SIGTERM)
    }

    /// Ends a host's daemon with SIGKILL, and nothing else on it.
    pub fn kill(&self, host: &str) -> Result<(), LabError> {
        let (record, _held) = self.begin(host)?;
        daemon::end(&self.layout, &record.name, Signal::SIGKILL)
    }

    /// Waits until a host's daemon accepts connections on its control socket.
    pub fn wait_ready(&self, host: &str, patience: Duration) -> Result<(), LabError> {
        daemon::wait_ready(&self.layout, &self.record.host(host)?.name, patience)
    }

    /// Gives a host another address in the lab's network, as a host that moved has it: at once in
    /// its network, for its daemon from its next start on.
    pub fn readdress(&mut self, host: &str, address: Ipv4Addr) -> Result<(), LabError> {
        let held = self.begin(host)?.1;
        let net = self.record.subnet;
        let hosts = subnet::hosts(&net);
        let owner = self.record.hosts.iter().find(|other| other.address == address);
        if let Some(owner) = owner {
            let text = format!("{address} is the address of host {}", owner.name);
            return Err(LabError::Invalid(text));
        }
        if !hosts.contains(&address) {
            let text = format!(
                "{address} is no address for a host: want {} to {}",
                hosts.start(),
                hosts.end()
            );
            return Err(LabError::Invalid(text));
        }
        let mut record = self.record.clone();
        for moved in record.hosts.iter_mut().filter(|h| h.name == host) {
            network::readdress(&self.layout, moved, address, &net)?;
            moved.address = address;
        }
        record.save(&self.layout.folder)?;
        self.record = record;
        for host in &self.record.hosts {
            host::write_files(&self.layout, host, &self.record.hosts)?;
        }
        drop(held);
        Ok(())
    }

    /// Pulls a host's cable: it reaches nobody and nobody reaches it. Its control socket, being a
    /// file, still works.
    pub fn cut(&self, host: &str) -> Result<(), LabError> {
        let (record, _held) = self.begin(host)?;
        network::set_cable(&self.layout, &record.name, false)
    }

    /// Puts a host's cable back. A partition is not healed by it.
    pub fn heal(&self, host: &str) -> Result<(), LabError> {
        let (record, _held) = self.begin(host)?;
        network::set_cable(&self.layout, &record.name, true)?;
        network::settle(&self.layout)
    }

    /// Splits the network: only hosts of one group reach each other. Hosts in no group form a
    /// further one. Replaces an earlier partition; the machine itself still reaches every host.
    pub fn partition(&self, groups: &[Vec<String>]) -> Result<(), LabError> {
        let groups = self.complete(groups)?;
        let _held = self.begin_network()?;
        network::part(&self.layout, &groups)
    }

    fn complete(&self, groups: &[Vec<String>]) -> Result<Vec<Vec<String>>, LabError> {
        let mut named: Vec<&str> = Vec::new();
        for name in groups.iter().flatten() {
            let host = self.record.host(name)?.name.as_str();
            if named.contains(&host) {
                return Err(LabError::Invalid(format!("host {host} is in the partition twice")));
            }
            named.push(host);
        }
        let names = self.record.hosts.iter().map(|host| host.name.clone());
        let rest: Vec<String> = names.filter(|name| !named.contains(&name.as_str())).collect();
        let mut groups = groups.to_vec();
        groups.push(rest);
        groups.retain(|group| !group.is_empty());
        if groups.len() < 2 {
            return Err(LabError::Invalid("a partition needs at least two groups of hosts".into()));
        }
        Ok(groups)
    }

    /// Ends a partition and puts every cable back.
    pub fn heal_all(&self) -> Result<(), LabError> {
        let _held = self.begin_network()?;
        network::part(&self.layout, &[])?;
        for host in &self.record.hosts {
            network::set_cable(&self.layout, &host.name, true)?;
        }
        network::settle(&self.layout)
    }

    /// A command that will run `program` inside a host, to be given arguments and streams.
    pub fn command(&self, host: &str, program: &str) -> Result<Command, LabError> {
        let host = self.record.host(host)?;
        self.require_up(host)?;
        let mut command = host::enter(&self.layout, &host.name);
        command.arg(program).env("SWARM_HOST", inside_socket());
        Ok(command)
    }

    /// Runs a command inside a host to its end and returns its output and status.
    pub fn exec(&self, host: &str, words: &[&str]) -> Result<Output, LabError> {
        let [program, arguments @ ..] = words else {
            return Err(LabError::Invalid("there is no command to run".into()));
        };
        let mut command = self.command(host, program)?;
        command.args(arguments).output().map_err(|error| spawn_error(&command, error))
    }

    /// Runs `work` on a thread of its own that is in a host's network: sockets made there are the
    /// host's.
    pub fn in_network<T: Send>(
        &self,
        host: &str,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, LabError> {
        let host = self.record.host(host)?;
        self.require_up(host)?;
        host::in_network(&self.layout.pin(&host.name, "net"), work)
    }

    /// Removes the lab and all it made. Afterwards this handle is of no use.
    pub fn down(&self, progress: Progress<'_>) -> Result<(), LabError> {
        let _held = self.hold(progress)?;
        removal::remove(&self.layout, &self.record.name, progress)?;
        // The root goes with the last lab; any other lab keeps it.
        if let Some(root) = self.layout.folder.parent() {
            let _ = std::fs::remove_dir(root);
        }
        Ok(())
    }

    fn hold(&self, progress: Progress<'_>) -> Result<Held, LabError> {
        hold(&self.layout, &self.record.name, progress)?.ok_or_else(|| self.gone())
    }

    fn gone(&self) -> LabError {
        LabError::NoSuchLab(self.record.name.clone())
    }

    fn begin(&self, host: &str) -> Result<(&HostRecord, Held), LabError> {
        let record = self.record.host(host)?;
        let held = self.hold(&|_| ())?;
        self.require_up(record)?;
        Ok((record, held))
    }

    fn begin_network(&self) -> Result<Held, LabError> {
        let held = self.hold(&|_| ())?;
        self.record.hosts.iter().try_for_each(|host| self.require_up(host))?;
        Ok(held)
    }

    fn require_up(&self, host: &HostRecord) -> Result<(), LabError> {
        if host::is_up(&self.layout, &host.name) {
            return Ok(());
        }
        Err(LabError::Invalid(format!(
            "host {} of lab {:?} is not up: bring the lab up again",
            host.name, self.record.name
        )))
    }
}

/// What `SWARM_HOST` is on the host itself.
fn inside_socket() -> String {
    format!("unix://{}/{}", crate::layout::RUN_INSIDE, crate::layout::SOCKET)
}

/// Makes the lab's network as far as it is missing. Addresses another link took while the lab was
/// down are an error: the cluster in it knows its nodes by them.
pub(crate) fn raise_network(layout: &Layout, record: &Record) -> Result<(), LabError> {
    let pins = layout.pins();
    std::fs::create_dir_all(&pins).map_err(LabError::on_path("create", &pins))?;
    mounts::make_private(&pins)?;
    if !mounts::is_pin(&layout.switch_pin()) {
        network::remove_machine_link(layout)?;
        let routes = network::routes()?;
        if let Some(other) = routes.iter().find(|net| subnet::overlap(net, &record.subnet)) {
            return Err(LabError::Invalid(format!(
                "lab {:?} has the addresses {}, which this machine now routes elsewhere ({other})",
                record.name, record.subnet
            )));
        }
    }
    network::raise(layout, &record.subnet)
}

#[cfg(test)]
mod tests;
