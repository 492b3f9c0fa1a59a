//! Runs a further command in a running container: a forked child joins the container's cgroup and
//! namespaces, forks once more, and that process is confined exactly as the first one was. It
//! becomes a child of the shim, which reports its end.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;
use nix::unistd::{ForkResult, Gid, Pid, Uid};

use super::process::{execute, exit, find, keep, reset_signals, restrict, search_path, tell};
use super::user::{self, Here, User};
use super::{failure, filter, pipe};
use crate::plan::{Plan, file};
use crate::spec::Ulimit;
use crate::wire::Failure;

/// What is asked for; absent fields are the container's own.
pub struct Command {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
}

/// A command on its way.
pub struct Running {
    pub pid: Pid,
    /// Closes once the command runs; carries a failure when it cannot.
    pub status: OwnedFd,
    /// Standard output and error together.
    pub output: OwnedFd,
}

/// Starts the command. Returns once its process exists.
pub fn spawn(dir: &Path, init: Pid, command: &Command) -> Result<Running, Failure> {
    let (output, output_write) = pipe().map_err(failure)?;
    let (status, status_write) = pipe().map_err(failure)?;
    let (pid_read, pid_write) = pipe().map_err(failure)?;
    // SAFETY: this process has one thread, so the child may use the heap freely.
    match unsafe { nix::unistd::fork() }.map_err(|e| failure(format!("fork: {e}")))? {
        ForkResult::Child => {
            let result = enter(dir, init, command, &output_write, &status_write);
            match result {
                Ok(pid) => {
                    let _ = nix::unistd::write(&pid_write, &pid.as_raw().to_le_bytes());
                    exit(0)
                }
                Err(problem) => {
                    tell(status_write.as_raw_fd(), &problem);
                    exit(1)
                }
            }
        }
        ForkResult::Parent { .. } => {}
    }
    drop((output_write, status_write, pid_write));
    let mut pid = [0; 4];
    match File::from(pid_read).read_exact(&mut pid) {
        Ok(()) => Ok(Running { pid: Pid::from_raw(i32::from_le_bytes(pid)), status, output }),
        Err(_) => Err(problem_of(status)),
    }
}

/// The failure a pipe carries, or a general one.
pub fn problem_of(status: OwnedFd) -> Failure {
    let mut text = String::new();
    let _ = File::from(status).read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or_else(|_| failure("the command could not be started"))
}

/// Joins the container and forks; returns the new process's pid in the parent. Never returns in
/// the new process.
fn enter(
    dir: &Path,
    init: Pid,
    command: &Command,
    output: &OwnedFd,
    status: &OwnedFd,
) -> Result<Pid, Failure> {
    reset_signals();
    // Processes of the container must not look into this one while it still is of the host.
    let _ = nix::sys::prctl::set_dumpable(false);
    let text = fs::read(dir.join(file::PLAN)).map_err(|e| failure(format!("read plan: {e}")))?;
    let plan: Plan =
        serde_json::from_slice(&text).map_err(|e| failure(format!("read plan: {e}")))?;
    let filter = filter::load(&plan).map_err(failure)?;
    let null: OwnedFd =
        File::open("/dev/null").map_err(|e| failure(format!("open /dev/null: {e}")))?.into();
    crate::cgroup::join(&plan.cgroup, init.as_raw())
        .map_err(|e| failure(format!("join cgroup: {e}")))?;
    if let Some(score) = plan.oom_score_adj {
        let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
    }
    for limit in &plan.ulimits {
        set_limit(limit)?;
    }
    join_namespaces(init)?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }.map_err(|e| failure(format!("fork: {e}")))? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let problem = become_command(&plan, command, &filter, [&null, output, output]);
            tell(status.as_raw_fd(), &problem);
            exit(if problem.code == 0 { 126 } else { problem.code })
        }
    }
}

fn join_namespaces(init: Pid) -> Result<(), Failure> {
    // SAFETY: plain numbers; the result is checked before it is owned.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, init.as_raw(), 0_u32) };
    let raw = i32::try_from(raw).unwrap_or(-1);
    if raw < 0 {
        return Err(failure(format!("open container: {}", std::io::Error::last_os_error())));
    }
    // SAFETY: raw is a fresh descriptor nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw) };
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(pidfd, flags).map_err(|e| failure(format!("enter container: {e}")))
}

fn become_command(plan: &Plan, command: &Command, filter: &[u8], stdio: [&OwnedFd; 3]) -> Failure {
    match prepare(plan, command, filter, stdio) {
        Ok(path) => execute(&path, &command.args),
        Err(problem) => problem,
    }
}

fn prepare(
    plan: &Plan,
    command: &Command,
    filter: &[u8],
    stdio: [&OwnedFd; 3],
) -> Result<std::path::PathBuf, Failure> {
    let _ = nix::unistd::setsid();
    for (target, fd) in (0..).zip(stdio) {
        // SAFETY: both are descriptors of this process.
        if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
            return Err(failure(format!("dup2: {}", std::io::Error::last_os_error())));
        }
    }
    let who = command.user.as_deref().unwrap_or(&plan.user);
    let user = user::resolve(&Here, who, &plan.groups).map_err(failure)?;
    let env = environment(plan, command, &user);
    set_environment(&env);
    let workdir = command.workdir.as_deref().unwrap_or(&plan.workdir);
    std::env::set_current_dir(workdir)
        .map_err(|e| failure(format!("working directory {workdir}: {e}")))?;
    let name = command.args.first().ok_or_else(|| failure("no command specified"))?;
    // SAFETY: marks descriptors to be closed by the execution; none is closed now.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    if plan.no_new_privileges {
        let _ = nix::sys::prctl::set_no_new_privs();
    }
    restrict(&plan.capabilities, filter)?;
    change_user(&user)?;
    keep(&plan.capabilities)?;
    find(name, search_path(&env))
}

fn environment(plan: &Plan, command: &Command, user: &User) -> Vec<String> {
    let mut env = plan.env.clone();
    env.extend(command.env.iter().cloned());
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}

fn set_environment(env: &[String]) {
    for (name, _) in std::env::vars_os() {
        // SAFETY: this process has one thread.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in env.iter().filter_map(|entry| entry.split_once('=')) {
        if !name.is_empty() {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

fn change_user(user: &User) -> Result<(), Failure> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::unistd::setgroups(&groups)
        .and_then(|()| nix::unistd::setresgid(gid, gid, gid))
        .and_then(|()| nix::sys::prctl::set_keepcaps(true))
        .and_then(|()| nix::unistd::setresuid(uid, uid, uid))
        .map_err(|e| failure(format!("become user {}:{}: {e}", user.uid, user.gid)))
}

fn set_limit(limit: &Ulimit) -> Result<(), Failure> {
    let Some(resource) = crate::ulimit::resource(&limit.name) else {
        return Err(failure(format!("unknown ulimit {:?}", limit.name)));
    };
    nix::sys::resource::setrlimit(resource, limit.soft, limit.hard)
        .map_err(|e| failure(format!("set ulimit {}: {e}", limit.name)))
}
