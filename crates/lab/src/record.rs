//! What is remembered of a lab between commands: its hosts, addresses and daemon. Pure but for
//! reading and writing the file. What runs is not in it: the kernel is asked for that.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::subnet::{self, MAX_MANAGERS, MAX_WORKERS};

/// The record's file in the lab's folder.
pub(crate) const FILE: &str = "lab.json";

/// Longest name of a lab: it is part of paths whose sockets may have 107 bytes.
const MAX_NAME: usize = 32;

/// What the caller means a host to become. The lab itself treats both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Named `m1`, `m2`, …
    Manager,
    /// Named `w1`, `w2`, …
    Worker,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// `m1`, `w1`, …: its hostname and the name of its port on the bridge.
    pub name: String,
    /// What it is meant to become.
    pub role: Role,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
}

/// One lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub name: String,
    pub subnet: Ipv4Net,
    /// The daemon every host runs.
    pub swarmd: PathBuf,
    /// Arguments of the daemon after those the lab gives.
    pub arguments: Vec<String>,
    pub hosts: Vec<HostRecord>,
}

impl Record {
    /// A lab without hosts.
    pub(crate) fn new(name: &str, subnet: Ipv4Net, swarmd: &Path, arguments: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            subnet,
            swarmd: swarmd.to_owned(),
            arguments: arguments.to_vec(),
            hosts: Vec::new(),
        }
    }

    /// Adds hosts until there are this many. A lab never shrinks: which of its hosts could go is
    /// for the cluster in it to say.
    pub(crate) fn grow(&mut self, managers: u8, workers: u8) -> Result<(), LabError> {
        for (role, wanted, max) in
            [(Role::Manager, managers, MAX_MANAGERS), (Role::Worker, workers, MAX_WORKERS)]
        {
            let have = self.hosts.iter().filter(|host| host.role == role).count();
            let plural = format!("{role:?}s").to_lowercase();
            if wanted > max {
                return Err(LabError::Invalid(format!(
                    "{wanted} {plural} do not fit into a lab (0 to {max})"
                )));
            }
            if have > usize::from(wanted) {
                return Err(LabError::Invalid(format!(
                    "lab {:?} already has {have} {plural}, more than the {wanted} asked for: \
                     take it down first",
                    self.name
                )));
            }
            let have = u8::try_from(have).unwrap_or(max);
            self.hosts.extend((have..wanted).map(|index| host(&self.subnet, role, index)));
        }
        if self.hosts.is_empty() {
            return Err(LabError::Invalid("a lab needs at least one host".into()));
        }
        Ok(())
    }

    /// The host of this name.
    pub(crate) fn host(&self, name: &str) -> Result<&HostRecord, LabError> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| LabError::NoSuchHost {
            lab: self.name.clone(),
            host: name.to_owned(),
            known: self.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads the record in a lab's folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join(FILE);
        let failed = |reason: String| LabError::Record { path: folder.to_owned(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Writes it, replacing the old one whole.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), LabError> {
        let path = folder.join(FILE);
        let new = folder.join("lab.json.new");
        let text = serde_json::to_string_pretty(self).map_err(LabError::on_path("write", &path))?;
        std::fs::write(&new, text).map_err(LabError::on_path("write", &new))?;
        std::fs::rename(&new, &path).map_err(LabError::on_path("write", &path))
    }
}

fn host(subnet: &Ipv4Net, role: Role, index: u8) -> HostRecord {
    let (letter, address) = match role {
        Role::Manager => ('m', subnet::manager(subnet, index)),
        Role::Worker => ('w', subnet::worker(subnet, index)),
    };
    HostRecord { name: format!("{letter}{}", u16::from(index) + 1), role, address }
}

/// Refuses names that could not be part of paths and cgroups.
pub(crate) fn check_name(name: &str) -> Result<(), LabError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('-');
    if fits && name.chars().all(allowed) {
        return Ok(());
    }
    Err(LabError::Invalid(format!(
        "{name:?} cannot name a lab: 1 to {MAX_NAME} lower-case letters, digits and dashes, \
         the first not a dash"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new("demo", "198.18.0.0/24".parse().unwrap(), Path::new("/bin/swarmd"), &[])
    }

    fn names(record: &Record) -> Vec<&str> {
        record.hosts.iter().map(|host| host.name.as_str()).collect()
    }

    #[test]
    fn a_lab_grows_and_keeps_the_hosts_it_has() {
        let mut record = record();
        record.grow(2, 1).unwrap();
        assert_eq!(names(&record), ["m1", "m2", "w1"]);
        let before = record.hosts.clone();
        record.grow(3, 1).unwrap();
        assert_eq!(names(&record), ["m1", "m2", "w1", "m3"]);
        assert_eq!(record.hosts[..3], before);
        assert_eq!(record.host("m3").unwrap().address, Ipv4Addr::new(198, 18, 0, 13));
    }

    #[test]
    fn a_lab_never_shrinks_nor_outgrows_its_subnet() {
        let mut record = record();
        record.grow(3, 0).unwrap();
        let error = record.grow(1, 0).unwrap_err().to_string();
        assert!(error.contains("already has 3 managers"), "{error}");
        let error = record.grow(91, 0).unwrap_err().to_string();
        assert!(error.contains("0 to 90"), "{error}");
    }

    #[test]
    fn an_unknown_host_is_named_together_with_the_known_ones() {
        let mut record = record();
        record.grow(1, 1).unwrap();
        let error = record.host("m9").unwrap_err().to_string();
        assert_eq!(error, r#"lab "demo" has no host "m9" (its hosts: m1, w1)"#);
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in ["", "..", "a/b", "-x", "A", "a b", &"x".repeat(33)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("kill-leader-2").unwrap();
    }
}
