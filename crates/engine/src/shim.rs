//! The shim: one small process beside each container. It owns the container's output, writes its
//! log, reaps its processes, reports its exit and answers on a socket. It has one thread and keeps
//! almost nothing in memory: whatever is heavy (libcontainer, JSON, image files) runs in a forked
//! child that ends when it is done. It outlives the daemon that started it.

mod config;
mod copy;
mod exec;
mod files;
mod filter;
mod init;
mod process;
mod rootfs;
mod serve;
mod setup;
mod user;

pub(crate) use serve::write_exit;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use crate::log::writer::Writer;
use crate::plan::{Report, file};
use crate::wire::Failure;

/// What the engine passes on the command line.
#[derive(Debug)]
struct Arguments {
    /// The container's persistent directory.
    dir: PathBuf,
    /// Its run directory.
    run: PathBuf,
    log_size: u64,
    log_files: u32,
}

/// Runs a shim to its end; the result is the process's exit code. Called by the binary only.
pub fn main() -> i32 {
    let arguments = match Arguments::parse(std::env::args().skip(1).collect()) {
        Ok(arguments) => arguments,
        Err(message) => {
            report(&failed(message));
            return 2;
        }
    };
    match run(&arguments) {
        Ok(()) => 0,
        Err(message) => {
            report(&failed(message));
            1
        }
    }
}

fn failed(message: String) -> Report {
    Report::Failed { message, code: 0 }
}

impl Arguments {
    fn parse(words: Vec<String>) -> Result<Self, String> {
        let usage = "usage: swarmd-shim DIR RUN LOG_SIZE LOG_FILES (started by swarmd)";
        let [dir, run, size, files] = words.as_slice() else { return Err(usage.to_owned()) };
        Ok(Self {
            dir: dir.into(),
            run: run.into(),
            log_size: size.parse().map_err(|_| usage.to_owned())?,
            log_files: files.parse().map_err(|_| usage.to_owned())?,
        })
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    detach()?;
    std::env::set_current_dir(&arguments.run).map_err(|e| format!("enter run directory: {e}"))?;
    let listener = UnixListener::bind(file::SOCKET).map_err(|e| format!("bind socket: {e}"))?;
    listener.set_nonblocking(true).map_err(|e| format!("socket: {e}"))?;
    let (out_read, out_write) = pipe()?;
    let (err_read, err_write) = pipe()?;
    let (status_read, status_write) = pipe()?;
    let (result_read, result_write) = pipe()?;
    // SAFETY: this process has one thread, so the child may use the heap freely.
    let child = match unsafe { nix::unistd::fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => {
            let stdio = setup::Stdio { out: out_write, err: err_write };
            let status = setup::Status { read: status_read, write: status_write };
            let answer = setup::build(&arguments.dir, &arguments.run, stdio, status);
            let line = serde_json::to_vec(&answer).unwrap_or_default();
            let _ = File::from(result_write).write_all(&line);
            process::exit(0);
        }
        ForkResult::Parent { child } => child,
    };
    drop((out_write, err_write, status_write, result_write));
    let answer = setup_result(result_read, child);
    let pid = match answer {
        Report::Created { pid } => pid,
        failure @ Report::Failed { .. } => {
            report(&failure);
            return Ok(());
        }
    };
    let _ = std::fs::write(file::PID, pid.to_string());
    report(&answer);
    quiet()?;
    forget_code();
    let log = Writer::new(arguments.dir.join(file::LOG), arguments.log_size, arguments.log_files);
    let container = serve::Container {
        dir: arguments.dir.clone(),
        cgroup: std::fs::read_to_string(setup::CGROUP_FILE).unwrap_or_default(),
        init: Pid::from_raw(pid),
        status: Some(status_read),
        started_at: None,
    };
    serve::run(container, listener, [out_read, err_read], log)
}

/// Makes this process independent: session, mount namespace, descriptors, signals, orphans.
fn detach() -> Result<(), String> {
    // SAFETY: closes descriptors nothing in this process uses yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    // Fails only when it leads a session already.
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"swarmd-shim");
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("become subreaper: {e}"))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked_signals()), None)
        .map_err(|e| format!("block signals: {e}"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(|e| format!("unshare mounts: {e}"))?;
    // Mounts made here must not reach the host; unmounts of the host must reach here.
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
    .map_err(|e| format!("make mounts private: {e}"))
}

/// Signals that must not end a shim: it goes when its container is gone.
fn blocked_signals() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
    ] {
        set.add(signal);
    }
    set
}

/// What the setup child left in its pipe. It is awaited first, because the container's first
/// process keeps a copy of the pipe's writing end until it executes its command.
fn setup_result(result: OwnedFd, child: Pid) -> Report {
    let ended = nix::sys::wait::waitpid(child, None);
    let mut text = String::new();
    if serve::nonblocking(&result).is_ok() {
        // Ends with an error where the pipe is empty; what was read until then counts.
        let _ = File::from(result).read_to_string(&mut text);
    }
    serde_json::from_str(&text)
        .unwrap_or_else(|_| failed(format!("container setup ended without a result ({ended:?})")))
}

/// Tells the engine how the setup went; it reads one line and then closes.
fn report(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    let _ = nix::unistd::write(std::io::stdout(), &line);
}

/// Lets go of the daemon's pipes.
fn quiet() -> Result<(), String> {
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| format!("open /dev/null: {e}"))?;
    for target in 0..=2 {
        // SAFETY: both descriptors are open; the standard ones belong to nobody.
        if unsafe { libc::dup2(null.as_raw_fd(), target) } < 0 {
            return Err(format!("dup2: {}", std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Gives back the pages of this program the setup touched and the loop will not: they come back
/// from the page cache when needed. Only mappings up to the code are safe to drop; later ones hold
/// relocated data.
fn forget_code() {
    let Ok(program) = std::env::current_exe() else { return };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines().filter(|line| line.ends_with(&*program.to_string_lossy())) {
        let code = line.contains(" r-xp ");
        if !code && !line.contains(" r--p ") {
            return;
        }
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((start, end)) = range.and_then(|(a, b)| Some((number(a)?, number(b)?))) else {
            return;
        };
        // SAFETY: a read-only private mapping of a file has no changes to lose up to the code,
        // and dropped pages are read again on the next access.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        if code {
            return;
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("pipe: {e}"))
}

/// A failure that is not the command's own fault.
fn failure(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), code: 0 }
}
