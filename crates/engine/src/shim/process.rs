//! The last steps of a container's process before it runs its command: find the command, give up
//! capabilities, load the filter, execute. Shared by the first process and by exec, so that both
//! are confined alike (libcontainer's own exec would leave the filter out).

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};

use super::init;
use crate::profile::ALL_CAPABILITIES;
use crate::wire::Failure;

/// Ends this process at once: no destructors, no output buffers shared with the parent.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Capability names as the kernel's bit mask.
pub fn mask(capabilities: &[String]) -> u64 {
    let bit = |name: &String| ALL_CAPABILITIES.iter().position(|known| known == name);
    capabilities.iter().filter_map(bit).fold(0, |mask, number| mask | 1 << number)
}

/// What the first process does once libcontainer has built its surroundings.
#[derive(Clone)]
pub struct Payload {
    pub capabilities: Vec<String>,
    /// The compiled system call filter.
    pub filter: Vec<u8>,
    /// Where failures are told; closed by a successful execution.
    pub status: RawFd,
    /// Run a small init as pid 1 and the command as its child.
    pub init: bool,
    /// `NAME=value` in the order that the command finds them.
    pub env: Vec<String>,
}

impl Payload {
    fn command(spec: &Spec) -> Result<(PathBuf, Vec<String>), Failure> {
        let process = spec.process().as_ref();
        let args = process.and_then(|p| p.args().clone()).unwrap_or_default();
        let env = process.and_then(|p| p.env().clone()).unwrap_or_default();
        let Some(name) = args.first() else {
            return Err(Failure { message: "no command specified".to_owned(), code: 127 });
        };
        Ok((find(name, search_path(&env))?, args))
    }
}

impl Executor for Payload {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        Self::command(spec).map(|_| ()).map_err(|failure| {
            tell(self.status, &failure);
            ExecutorValidationError::ArgValidationError(failure.message)
        })
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        if self.init {
            init::split(self.status);
        }
        let failure = match Self::command(spec) {
            Ok((path, args)) => confine(&self.capabilities, &self.filter)
                .err()
                .unwrap_or_else(|| execute(&path, &args)),
            Err(failure) => failure,
        };
        tell(self.status, &failure);
        exit(if failure.code == 0 { 126 } else { failure.code })
    }

    fn setup_envs(
        &self,
        envs: HashMap<String, String>,
    ) -> Result<(), libcontainer::workload::ExecutorSetEnvsError> {
        for (name, _) in std::env::vars_os() {
            // SAFETY: this process has one thread.
            unsafe { std::env::remove_var(name) };
        }
        for (name, value) in ordered(envs, &self.env) {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(())
    }
}

/// The variables in the order of `like`; those it does not name (`HOME`, if none was asked for) come last.
fn ordered(envs: HashMap<String, String>, like: &[String]) -> Vec<(String, String)> {
    let name_of = |entry: &String| entry.split_once('=').map_or(entry.clone(), |(n, _)| n.into());
    let names: Vec<String> = like.iter().map(name_of).collect();
    let place = |name: &String| names.iter().position(|n| n == name).unwrap_or(names.len());
    let mut envs: Vec<_> = envs.into_iter().collect();
    envs.sort_by_cached_key(|(name, _)| (place(name), name.clone()));
    envs
}

/// Writes a failure to the pipe the shim listens on.
pub fn tell(status: RawFd, failure: &Failure) {
    let text = serde_json::to_vec(failure).unwrap_or_default();
    // SAFETY: the buffer is valid for its length; a closed descriptor is a plain error.
    unsafe { libc::write(status, text.as_ptr().cast(), text.len()) };
}

/// The value of `PATH` in an environment list.
pub fn search_path(env: &[String]) -> &str {
    env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or("")
}

/// Finds a command as a shell would; 127 when there is none, 126 when it may not be executed.
pub fn find(name: &str, search: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure { message: format!("no such file or directory: {name:?}"), code: 127 })
            }
            Err(_) => Err(denied(name)),
        };
    }
    let mut found_denied = false;
    for dir in search.split(':') {
        let path = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(error) => found_denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    if found_denied {
        return Err(denied(name));
    }
    let message = format!("executable file not found in $PATH: {name:?}");
    Err(Failure { message, code: 127 })
}

fn denied(name: &str) -> Failure {
    Failure { message: format!("permission denied: {name:?}"), code: 126 }
}

fn check(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).map_err(io::Error::from)
}

/// Gives up all capabilities but these and loads the filter. Needs to be privileged still; cannot
/// be undone.
pub fn confine(capabilities: &[String], filter: &[u8]) -> Result<(), Failure> {
    restrict(capabilities, filter)?;
    keep(capabilities)
}

/// First half: no capability but these can ever come back, and the filter applies.
pub fn restrict(capabilities: &[String], filter: &[u8]) -> Result<(), Failure> {
    let mask = mask(capabilities);
    for number in (0..64).filter(|number| mask & (1 << number) == 0) {
        // SAFETY: plain numbers. Numbers the kernel does not know fail harmlessly.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    }
    // SAFETY: plain numbers; clears all ambient capabilities.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    load_filter(filter).map_err(|()| problem("load system call filter"))
}

/// Second half, once the user is set: only these capabilities are held.
pub fn keep(capabilities: &[String]) -> Result<(), Failure> {
    set_capabilities(mask(capabilities)).map_err(|()| problem("set capabilities"))
}

fn problem(what: &str) -> Failure {
    Failure { message: format!("{what}: {}", io::Error::last_os_error()), code: 0 }
}

fn load_filter(filter: &[u8]) -> Result<(), ()> {
    let step = size_of::<libc::sock_filter>();
    let program: Vec<libc::sock_filter> = filter
        .chunks_exact(step)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let Ok(len) = u16::try_from(program.len()) else { return Err(()) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program and its instructions outlive the call, which copies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_u32,
            std::ptr::from_ref(&program),
        )
    };
    if result == 0 { Ok(()) } else { Err(()) }
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words per set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct CapabilityWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn set_capabilities(mask: u64) -> Result<(), ()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let word = |bits: u32| CapabilityWord { effective: bits, permitted: bits, inheritable: 0 };
    let words = [word(mask as u32), word((mask >> 32) as u32)];
    // SAFETY: header and words have the layout version 3 asks for and outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), words.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(()) }
}

/// Replaces this process by the command. Returns only when that failed.
pub fn execute(path: &Path, args: &[String]) -> Failure {
    reset_signals();
    let text = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let program = text(path.as_os_str().as_encoded_bytes());
    let args: Vec<CString> = args.iter().map(|arg| text(arg.as_bytes())).collect();
    let Err(error) = nix::unistd::execv(&program, &args);
    let code = if error == nix::errno::Errno::ENOENT { 127 } else { 126 };
    Failure { message: format!("exec {}: {}", path.display(), error.desc()), code }
}

/// Default actions, nothing blocked: the runtime of this program ignores SIGPIPE.
pub fn reset_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &default) };
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}
