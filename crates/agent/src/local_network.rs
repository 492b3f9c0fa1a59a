//! Addresses of the node's local network, which gives a way out to tasks that have no other (no network of their own, or only
//! the ingress network). They mean nothing outside the node. Kept in one file per task, so that a restart gives none twice.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::Ipv4Net;

/// Id of the local network in the data plane.
pub const LOCAL_NETWORK: &str = "local";
/// Out of the way of Docker's own ranges (172.17–172.31 from below) and of the cluster's pools (10/8).
pub const LOCAL_SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16);

/// A shared handle.
#[derive(Clone)]
pub struct LocalAddresses {
    subnet: Ipv4Net,
    dir: Arc<Path>,
    // Held while a free address is looked for and written down.
    order: Arc<Mutex<()>>,
}

impl LocalAddresses {
    /// Addresses of `subnet`, those in use kept in `dir`.
    pub fn open(dir: &Path, subnet: Ipv4Net) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { subnet, dir: dir.into(), order: Arc::default() })
    }

    /// The whole range.
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// Whether the task has an address.
    pub fn has(&self, task_id: &str) -> bool {
        self.path(task_id).exists()
    }

    /// Reads and writes files: not for the runtime's threads.
    ///
    /// The task's address: the one that it has, or a free one. `None` if none is free (or none can be written down).
    pub fn take(&self, task_id: &str) -> Option<Ipv4Addr> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty file is what a crash while writing left.
        if let Ok(text) = fs::read_to_string(self.path(task_id))
            && let Ok(address) = text.trim().parse()
        {
            return Some(address);
        }
        let used: Vec<Ipv4Addr> = fs::read_dir(&self.dir)
            .ok()?
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok()?.trim().parse().ok())
            .collect();
        // The first host is the gateway.
        let free = self.subnet.hosts().skip(1).find(|address| !used.contains(address))?;
        fs::write(self.path(task_id), free.to_string()).ok()?;
        Some(free)
    }

    /// The task's address is free again.
    pub fn give_back(&self, task_id: &str) {
        match fs::remove_file(self.path(task_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(task = %task_id, %error, "give back local address");
            }
            _ => {}
        }
    }

    fn path(&self, task_id: &str) -> PathBuf {
        self.dir.join(task_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_its_address_and_no_two_share_one() {
        let dir = tempfile::tempdir().unwrap();
        let small: Ipv4Net = "172.30.0.0/29".parse().unwrap();
        let addresses = LocalAddresses::open(dir.path(), small).unwrap();
        let first = addresses.take("t1").unwrap();
        assert_eq!(first, Ipv4Addr::new(172, 30, 0, 2));
        assert_eq!(addresses.take("t1"), Some(first));
        let others: Vec<_> = (2..=5).map(|n| addresses.take(&format!("t{n}")).unwrap()).collect();
        assert!(!others.contains(&first));
        assert_eq!(addresses.take("t6"), None);
        addresses.give_back("t1");
        assert_eq!(addresses.take("t6"), Some(first));
    }
}
