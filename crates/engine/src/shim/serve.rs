//! The shim's loop: output into the log, requests on the socket, ends of processes. It waits in
//! `poll`, allocates little, and ends once the container has ended and everything is written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::setup;
use crate::log::LogStream;
use crate::log::writer::{Splitter, Writer};
use crate::plan::file;
use crate::state::{ExitStatus, now};
use crate::wire::{Failure, Request, ShimState};

mod client;
mod command;

use client::{Client, Role};
use command::Command;

/// Bytes read from a pipe at once: a pipe's whole default capacity.
const CHUNK: usize = 64 << 10;

/// The container a shim looks after.
pub struct Container {
    /// Its persistent directory.
    pub dir: PathBuf,
    pub cgroup: String,
    pub init: Pid,
    /// Until started: tells whether the command could be executed.
    pub status: Option<OwnedFd>,
    pub started_at: Option<u64>,
}

struct Output {
    pipe: Option<OwnedFd>,
    lines: Splitter,
}

struct Server {
    container: Container,
    outputs: [Output; 2],
    log: Writer,
    clients: Vec<Client>,
    commands: Vec<Command>,
    ended: Option<ExitStatus>,
    buffer: Box<[u8; CHUNK]>,
    records: Vec<u8>,
}

/// Serves until the container has ended.
pub fn run(
    container: Container,
    listener: UnixListener,
    pipes: [OwnedFd; 2],
    log: Writer,
) -> Result<(), String> {
    let mut chld = SigSet::empty();
    chld.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&chld, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|e| format!("signalfd: {e}"))?;
    for pipe in &pipes {
        nonblocking(pipe).map_err(|e| format!("output pipe: {e}"))?;
    }
    let [out, err] = pipes;
    let mut server = Server {
        container,
        outputs: [
            Output { pipe: Some(out), lines: Splitter::new(LogStream::Stdout) },
            Output { pipe: Some(err), lines: Splitter::new(LogStream::Stderr) },
        ],
        log,
        clients: Vec::new(),
        commands: Vec::new(),
        ended: None,
        buffer: Box::new([0; CHUNK]),
        records: Vec::new(),
    };
    // The container may have ended before the signal could be seen.
    server.reap();
    while server.ended.is_none() {
        server.turn(&listener, &signals)?;
    }
    server.finish();
    Ok(())
}

/// Makes reads from a descriptor return at once.
pub fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = fcntl(fd, FcntlArg::F_GETFL)?;
    let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// What one entry of the poll list belongs to.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Output(usize),
    Client(usize),
    CommandStatus(usize),
    CommandOutput(usize),
}

impl Server {
    fn turn(&mut self, listener: &UnixListener, signals: &SignalFd) -> Result<(), String> {
        let ready = self.wait(listener, signals)?;
        for (source, events) in ready {
            match source {
                Source::Signals => while matches!(signals.read_signal(), Ok(Some(_))) {},
                Source::Listener => self.accept(listener),
                Source::Output(index) => self.take_output(index),
                Source::Client(index) => self.serve_client(index, events),
                Source::CommandStatus(index) => self.command_status(index),
                Source::CommandOutput(index) => self.command_output(index),
            }
        }
        self.reap();
        self.clean();
        Ok(())
    }

    fn wait(
        &self,
        listener: &UnixListener,
        signals: &SignalFd,
    ) -> Result<Vec<(Source, PollFlags)>, String> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut fds = vec![watch(signals.as_fd()), watch(listener.as_fd())];
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = &output.pipe {
                sources.push(Source::Output(index));
                fds.push(watch(pipe.as_fd()));
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            sources.push(Source::Client(index));
            fds.push(PollFd::new(client.stream.as_fd(), client.interest()));
        }
        for (index, command) in self.commands.iter().enumerate() {
            if let Some(status) = &command.status {
                sources.push(Source::CommandStatus(index));
                fds.push(watch(status.as_fd()));
            }
            let room = self.clients.iter().any(|c| c.role == Role::Exec(command.pid) && c.room());
            if let Some(output) = command.output.as_ref().filter(|_| room) {
                sources.push(Source::CommandOutput(index));
                fds.push(watch(output.as_fd()));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(sources.into_iter().zip(events).filter(|(_, events)| !events.is_empty()).collect())
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            self.clients.extend(Client::new(stream));
        }
    }

    /// Moves what a pipe holds into the log.
    fn take_output(&mut self, index: usize) {
        let output = &mut self.outputs[index];
        let Some(pipe) = &output.pipe else { return };
        let time = now();
        match nix::unistd::read(pipe, &mut self.buffer[..]) {
            Ok(0) => {
                output.lines.finish(time, &mut self.records);
                output.pipe = None;
            }
            Ok(count) => output.lines.feed(&self.buffer[..count], time, &mut self.records),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return,
            Err(_) => output.pipe = None,
        }
        self.log.append(&self.records, time);
        self.records.clear();
        // One burst must not be kept in memory for the container's life.
        self.records.shrink_to(2 * CHUNK);
    }

    fn serve_client(&mut self, index: usize, events: PollFlags) {
        let client = &mut self.clients[index];
        if events.contains(PollFlags::POLLOUT) {
            client.flush();
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            match client.request() {
                Ok(Some(request)) => self.answer(index, request),
                Ok(None) => {}
                Err(failure) => {
                    client.fail(&failure);
                }
            }
        }
    }

    fn answer(&mut self, index: usize, request: Request) {
        match request {
            Request::Start => {
                let result = self.start();
                self.clients[index].conclude(result);
            }
            Request::Kill { signal } => {
                let result = match Signal::try_from(signal) {
                    Ok(signal) => kill(self.container.init, signal).map_err(|e| e.to_string()),
                    Err(_) => Err(format!("no such signal: {signal}")),
                };
                self.clients[index].conclude(result.map_err(super::failure));
            }
            Request::State => {
                let state = ShimState {
                    pid: self.container.init.as_raw(),
                    started_at: self.container.started_at,
                    dropped: self.log.dropped(),
                };
                self.clients[index].tell_state(&state);
            }
            Request::Wait => self.clients[index].role = Role::Waiting,
            Request::Exec { args, env, workdir, user } => {
                let command = super::exec::Command { args, env, workdir, user };
                self.exec(index, &command);
            }
        }
    }

    /// Lets the first process execute its command and waits until it has.
    fn start(&mut self) -> Result<(), Failure> {
        let Some(status) = self.container.status.take() else {
            return Err(super::failure("the container was started already"));
        };
        setup::release().map_err(super::failure)?;
        let mut text = String::new();
        // Ends when the command runs, or when the process is gone.
        let _ = File::from(status).read_to_string(&mut text);
        if !text.is_empty() {
            let failure = serde_json::from_str(&text);
            return Err(failure.unwrap_or_else(|_| super::failure(text)));
        }
        let time = now();
        self.container.started_at = Some(time);
        // Also for a daemon that comes back when the container has ended.
        let _ = fs::write(file::STARTED, time.to_string());
        Ok(())
    }

    fn exec(&mut self, index: usize, command: &super::exec::Command) {
        let client = &mut self.clients[index];
        if self.container.started_at.is_none() {
            client.fail(&super::failure("the container is not running"));
            return;
        }
        match super::exec::spawn(&self.container.dir, self.container.init, command) {
            Ok(running) => {
                client.role = Role::Exec(running.pid);
                self.commands.extend(Command::new(running));
            }
            Err(failure) => client.fail(&failure),
        }
    }

    fn command_status(&mut self, index: usize) {
        if let Some(failure) = self.commands[index].take_status() {
            let pid = self.commands[index].pid;
            for client in self.clients.iter_mut().filter(|c| c.role == Role::Exec(pid)) {
                client.fail(&failure);
            }
        }
    }

    fn command_output(&mut self, index: usize) {
        let command = &mut self.commands[index];
        let Some(count) = command.read(&mut self.buffer[..]) else { return };
        let pid = command.pid;
        for client in self.clients.iter_mut().filter(|c| c.role == Role::Exec(pid)) {
            client.output(&self.buffer[..count]);
        }
    }

    /// Collects ended processes.
    fn reap(&mut self) {
        loop {
            let (pid, status) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, exit_status(code, None)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, exit_status(128 + signal as i32, Some(signal as i32)))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if pid == self.container.init {
                self.ended = Some(status);
            } else if let Some(index) = self.commands.iter().position(|c| c.pid == pid) {
                self.command_ended(index, &status);
            }
        }
    }

    fn command_ended(&mut self, index: usize, status: &ExitStatus) {
        self.command_status(index);
        while readable(&self.commands[index].output) {
            self.command_output(index);
        }
        let pid = self.commands[index].pid;
        for client in self.clients.iter_mut().filter(|c| c.role == Role::Exec(pid)) {
            client.tell_exit(status);
        }
        self.commands.remove(index);
    }

    /// Forgets clients that are done, and ends the commands of those that left.
    fn clean(&mut self) {
        for client in self.clients.iter().filter(|client| client.gone) {
            if let Role::Exec(pid) = client.role
                && self.commands.iter().any(|command| command.pid == pid)
            {
                // The command leads a session of its own: all it started goes with it.
                let _ = kill(Pid::from_raw(-pid.as_raw()), Signal::SIGKILL);
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        self.clients.retain(|client| !client.gone && !client.finished());
    }

    /// Writes the rest of the output and the exit, and tells everyone who waits.
    fn finish(&mut self) {
        for index in 0..self.outputs.len() {
            while self.outputs[index].pipe.is_some() && readable(&self.outputs[index].pipe) {
                self.take_output(index);
            }
            self.outputs[index].lines.finish(now(), &mut self.records);
        }
        self.log.append(&self.records, now());
        let mut status = self.ended.take().unwrap_or_default();
        status.oom_killed = crate::cgroup::oom_kills(&self.container.cgroup) > 0;
        // What cannot be removed now is removed with the container.
        let _ = crate::cgroup::remove(&self.container.cgroup);
        let _ = write_exit(&self.container.dir, &status);
        for client in &mut self.clients {
            client.last_word(&status);
        }
    }
}

fn exit_status(code: i32, signal: Option<i32>) -> ExitStatus {
    ExitStatus { code, signal, finished_at: now(), ..ExitStatus::default() }
}

/// Writes the exit status so that it is there whole or not at all.
pub fn write_exit(dir: &Path, status: &ExitStatus) -> io::Result<()> {
    let partial = dir.join("exit.partial");
    fs::write(&partial, serde_json::to_vec(status)?)?;
    fs::rename(partial, dir.join(file::EXIT))
}

fn watch(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// There is something to read, or the end, right now.
fn readable(pipe: &Option<OwnedFd>) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut fds = [watch(pipe.as_fd())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Reads what is there; None at the end.
fn read_some(fd: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match nix::unistd::read(fd.as_fd(), buffer) {
            Ok(0) => return None,
            Ok(count) => return Some(count),
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => return Some(0),
            Err(_) => return None,
        }
    }
}
