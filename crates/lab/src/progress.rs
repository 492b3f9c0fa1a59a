//! What a lab tells while it works. The library prints nothing; the caller shows it or not.

use std::fmt;

/// One finished or started step; its `Display` is one line for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another command works on this lab; waiting for it.
    Waiting { lab: String },
    /// The lab's bridge is up; the machine itself has this address on it.
    Network { subnet: String, machine: String },
    /// A host's namespaces are made and connected.
    Host { host: String, address: String },
    /// `swarmd` runs on a host.
    Started { host: String, pid: i32 },
    /// Processes of the lab were killed.
    Killed { processes: usize },
    /// Nothing of the lab is left.
    Removed { lab: String },
}

/// Receives the steps.
pub type Progress<'a> = &'a dyn Fn(Step);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { lab } => write!(f, "waiting for another command on lab {lab}"),
            Self::Network { subnet, machine } => {
                write!(f, "network {subnet} is up, this machine is {machine}")
            }
            Self::Host { host, address } => write!(f, "host {host} is up at {address}"),
            Self::Started { host, pid } => write!(f, "swarmd runs on {host} (pid {pid})"),
            Self::Killed { processes } => write!(f, "{processes} processes killed"),
            Self::Removed { lab } => write!(f, "lab {lab} is removed"),
        }
    }
}
