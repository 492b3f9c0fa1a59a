//! One command run by exec, as the shim's loop sees it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use super::{nonblocking, read_some};
use crate::shim::exec::Running;
use crate::wire::Failure;

/// A command that was started and has not been reaped.
pub struct Command {
    pub pid: Pid,
    /// Open until the command is known to run.
    pub status: Option<OwnedFd>,
    /// Open until its end was read.
    pub output: Option<OwnedFd>,
}

impl Command {
    pub fn new(running: Running) -> Option<Self> {
        nonblocking(&running.output).ok()?;
        Some(Self { pid: running.pid, status: Some(running.status), output: Some(running.output) })
    }

    /// Reads the status pipe to its end; the failure when the command could not be run.
    pub fn take_status(&mut self) -> Option<Failure> {
        let mut text = String::new();
        File::from(self.status.take()?).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Reads output; None when there is none any more.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let count = read_some(self.output.as_ref()?, buffer);
        if count.is_none() {
            self.output = None;
        }
        count
    }
}
