//! The names of everything a lab makes: files, pins, sockets, cgroups and the machine's link. All
//! follow from the folder of labs and the lab's name, so that any process finds them again. Pure.

use std::path::{Path, PathBuf};

use crate::cgroup;
use crate::record::HostRecord;
use crate::subnet::digest;

/// Where a host sees the folder its `swarmd` keeps sockets in: short, because socket paths may
/// have 107 bytes.
pub(crate) const RUN_INSIDE: &str = "/run/swarmd";

/// The control socket in that folder.
pub(crate) const SOCKET: &str = "swarmd.sock";

/// A host's namespaces; the names are those of `nsenter` and `/proc/PID/ns` but for mount.
pub(crate) const KINDS: [&str; 3] = ["net", "mount", "uts"];

/// Longest path of a unix socket.
pub(crate) const MAX_SOCKET: usize = 107;

/// One lab's names.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// `<root>/<lab>`.
    pub folder: PathBuf,
    key: String,
}

impl Layout {
    /// `root` must be canonical. Labs of one name under different roots get different keys.
    pub(crate) fn new(root: &Path, lab: &str, default_root: bool) -> Self {
        let folder = root.join(lab);
        let key = if default_root {
            lab.to_owned()
        } else {
            format!("{lab}.{:06x}", digest(&folder.to_string_lossy()) & 0x00ff_ffff)
        };
        Self { folder, key }
    }

    /// Stable per lab; decides where the search for a subnet begins.
    pub(crate) fn seed(&self) -> u64 {
        digest(&self.key)
    }

    /// The machine's own link into the lab; at most 15 bytes.
    pub(crate) fn machine_link(&self) -> String {
        format!("lab-{:08x}", self.seed() & 0xffff_ffff)
    }

    /// The lab's cgroup, relative to a hierarchy's root.
    pub(crate) fn cgroup(&self) -> String {
        format!("{}/{}", cgroup::PARENT, self.key)
    }

    /// A host's cgroup: `swarmd` gets it as the parent of its containers.
    pub(crate) fn host_cgroup(&self, host: &str) -> String {
        format!("{}/{host}", self.cgroup())
    }

    /// The private mount that holds all pins.
    pub(crate) fn pins(&self) -> PathBuf {
        self.folder.join("ns")
    }

    /// The pin of the namespace with the bridge.
    pub(crate) fn switch_pin(&self) -> PathBuf {
        self.pins().join("switch.net")
    }

    /// The pin of one of a host's namespaces.
    pub(crate) fn pin(&self, host: &str, kind: &str) -> PathBuf {
        self.pins().join(format!("{host}.{kind}"))
    }

    /// Present once a host's namespaces are furnished.
    pub(crate) fn ready_mark(&self, host: &str) -> PathBuf {
        self.pins().join(format!("{host}.ready"))
    }

    /// A host's own folder.
    pub(crate) fn host(&self, host: &str) -> PathBuf {
        self.folder.join(host)
    }

    /// The daemon's persistent data.
    pub(crate) fn state(&self, host: &str) -> PathBuf {
        self.host(host).join("state")
    }

    /// What the host sees as [`RUN_INSIDE`].
    pub(crate) fn run(&self, host: &str) -> PathBuf {
        self.host(host).join("run")
    }

    /// Files that replace the host's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    pub(crate) fn etc(&self, host: &str) -> PathBuf {
        self.host(host).join("etc")
    }

    /// The control socket as this machine sees it.
    pub(crate) fn socket(&self, host: &str) -> PathBuf {
        self.run(host).join(SOCKET)
    }

    /// What the daemon writes to stdout and stderr.
    pub(crate) fn log(&self, host: &str) -> PathBuf {
        self.host(host).join("swarmd.log")
    }

    /// The process id of the daemon last started.
    pub(crate) fn pid_file(&self, host: &str) -> PathBuf {
        self.host(host).join("swarmd.pid")
    }

    /// `/etc/hosts` of every host: all of them by name.
    pub(crate) fn hosts_file(hosts: &[HostRecord]) -> String {
        let lines = hosts.iter().map(|host| format!("{} {}\n", host.address, host.name));
        std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(lines).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_one_name_under_two_roots_share_nothing_on_the_machine() {
        let a = Layout::new(Path::new("/a"), "demo", false);
        let b = Layout::new(Path::new("/b"), "demo", false);
        assert_ne!(a.machine_link(), b.machine_link());
        assert_ne!(a.cgroup(), b.cgroup());
        let standard = Layout::new(Path::new("/c"), "demo", true);
        assert_eq!(standard.host_cgroup("m1"), "swarm-lab/demo/m1");
        assert!(a.machine_link().len() <= 15);
    }
}
