//! One connection to the shim's socket: a request line in, frames out, never blocking the shim.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;
use nix::unistd::Pid;

use crate::shim::failure;
use crate::state::ExitStatus;
use crate::wire::{Failure, Kind, MAX_REQUEST, Request, ShimState, frame, json_frame};

/// A command's output waits in its pipe while its client has not taken this much.
const MAX_PENDING: usize = 64 << 10;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The request has not come yet.
    Asking,
    /// Told when the container ends.
    Waiting,
    /// Gets the output and the end of the command with this pid.
    Exec(Pid),
    /// Has its answer; closed once that is sent.
    Done,
}

/// A connection.
pub struct Client {
    pub stream: UnixStream,
    pub role: Role,
    /// The peer has left.
    pub gone: bool,
    input: Vec<u8>,
    pending: Vec<u8>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        let (input, pending) = (Vec::new(), Vec::new());
        Some(Self { stream, role: Role::Asking, gone: false, input, pending })
    }

    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        if self.pending.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    /// More output may be read for it.
    pub fn room(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    /// It has its whole answer.
    pub fn finished(&self) -> bool {
        self.role == Role::Done && self.pending.is_empty()
    }

    /// Reads; the request once its line is complete. After that only the end is looked for.
    pub fn request(&mut self) -> Result<Option<Request>, Failure> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    return Ok(None);
                }
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return Ok(None);
                }
            }
            if self.input.len() > MAX_REQUEST {
                return Err(failure("request is longer than 256 KiB"));
            }
        }
        if self.role != Role::Asking {
            self.input.clear();
            return Ok(None);
        }
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = std::mem::take(&mut self.input);
        self.role = Role::Done;
        serde_json::from_slice(&line[..end])
            .map(Some)
            .map_err(|error| failure(format!("request not understood: {error}")))
    }

    /// Sends what the socket takes now.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.pending = Vec::new();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.flush();
    }

    /// The request failed.
    pub fn fail(&mut self, failure: &Failure) {
        self.role = Role::Done;
        self.send(&json_frame(Kind::Error, failure));
    }

    /// The request is done, or failed.
    pub fn conclude(&mut self, result: Result<(), Failure>) {
        match result {
            Ok(()) => {
                self.role = Role::Done;
                self.send(&frame(Kind::Ok, &[]));
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// Answers `State`.
    pub fn tell_state(&mut self, state: &ShimState) {
        self.send(&json_frame(Kind::State, state));
    }

    /// Passes a command's output on.
    pub fn output(&mut self, bytes: &[u8]) {
        self.send(&frame(Kind::Output, bytes));
    }

    /// The command, or the container, has ended.
    pub fn tell_exit(&mut self, status: &ExitStatus) {
        self.role = Role::Done;
        self.send(&json_frame(Kind::Exit, status));
    }

    /// The container has ended: whoever waits learns it, before the shim goes.
    pub fn last_word(&mut self, status: &ExitStatus) {
        if matches!(self.role, Role::Waiting | Role::Exec(_)) {
            self.tell_exit(status);
        }
    }
}
