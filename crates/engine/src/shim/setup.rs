//! Builds the container: mounts, secrets, user, configuration, then libcontainer's create. Runs in
//! a child the shim forks for it, in the shim's mount namespace, and ends when it is done; the
//! container's first process then belongs to the shim.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Gid, Uid};
use pathrs::Root;

use super::process::Payload;
use super::{config, copy, failure, files, filter, rootfs, user};
use crate::plan::{Plan, PlanMount, Report, file};
use crate::wire::Failure;

/// In the run directory: the container's cgroup path, for the shim that does not read the plan.
pub const CGROUP_FILE: &str = "cgroup";
/// In the run directory: libcontainer's own state.
const RUNTIME_ID: &str = "oci";

/// Writing ends of the container's output.
pub struct Stdio {
    pub out: OwnedFd,
    pub err: OwnedFd,
}

/// The pipe on which the container's first process tells why it could not run its command; it
/// closes without a word when the command runs.
pub struct Status {
    pub read: OwnedFd,
    pub write: OwnedFd,
}

/// Carries the plan out. Everything it mounts is in the shim's namespace and goes with it.
pub fn build(dir: &Path, run: &Path, stdio: Stdio, status: Status) -> Report {
    let status_read = status.read.try_clone();
    match create(dir, run, stdio, status) {
        Ok(pid) => Report::Created { pid },
        Err(problem) => {
            let told = status_read.ok().and_then(told);
            let Failure { message, code } = told.unwrap_or(problem);
            let cgroup = fs::read_to_string(CGROUP_FILE).unwrap_or_default();
            let _ = crate::cgroup::remove(&cgroup);
            Report::Failed { message, code }
        }
    }
}

/// What the first process said before it gave up.
fn told(status: OwnedFd) -> Option<Failure> {
    super::serve::nonblocking(&status).ok()?;
    let mut text = String::new();
    // Ends with an error when nothing (more) was said; what was read until then counts.
    let _ = File::from(status).read_to_string(&mut text);
    serde_json::from_str(&text).ok()
}

fn create(dir: &Path, run: &Path, stdio: Stdio, status: Status) -> Result<i32, Failure> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|e| failure(format!("unblock signals: {e}")))?;
    let text = fs::read(dir.join(file::PLAN)).map_err(|e| failure(format!("read plan: {e}")))?;
    let plan: Plan =
        serde_json::from_slice(&text).map_err(|e| failure(format!("read plan: {e}")))?;
    fs::write(CGROUP_FILE, &plan.cgroup).map_err(|e| failure(format!("write state: {e}")))?;
    let filter = filter::load(&plan).map_err(failure)?;

    let root_path = rootfs::mount(&plan, run).map_err(failure)?;
    let secrets = files::mount(run, std::io::stdin().lock()).map_err(failure)?;
    let root = Root::open(&root_path).map_err(|e| failure(format!("open root: {e}")))?;
    let user = user::resolve(&user::InRoot(&root), &plan.user, &plan.groups).map_err(failure)?;
    copy_up(&plan, &root)?;
    make_workdir(&plan, &root)?;
    for end in [&stdio.out, &stdio.err] {
        // An unprivileged command may then open /dev/stdout again, as web servers do.
        nix::unistd::fchown(end, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
            .map_err(|e| failure(format!("chown output: {e}")))?;
    }
    let binds = rootfs::detach_binds(&plan, run).map_err(failure)?;
    let spec = config::render(&plan, &user, &secrets, &binds, &root_path);
    let text = serde_json::to_vec(&spec).map_err(|e| failure(format!("configuration: {e}")))?;
    fs::write(run.join("config.json"), text)
        .map_err(|e| failure(format!("write configuration: {e}")))?;

    let payload = Payload {
        capabilities: plan.capabilities.clone(),
        filter,
        status: status.write.as_raw_fd(),
        init: plan.init,
        env: plan.env.clone(),
    };
    let pid = launch(run, stdio, payload)?;
    // The first process waits, and what it needs of devices it has.
    crate::cgroup::restrict_devices(&plan.cgroup)
        .map_err(|e| failure(format!("limit devices: {e}")))?;
    Ok(pid)
}

fn launch(run: &Path, stdio: Stdio, payload: Payload) -> Result<i32, Failure> {
    let null = File::open("/dev/null").map_err(|e| failure(format!("open /dev/null: {e}")))?;
    let container = ContainerBuilder::new(RUNTIME_ID.to_owned(), SyscallType::Linux)
        .with_executor(payload)
        .with_root_path(run)
        .map_err(|e| failure(chain(&e)))?
        .with_stdin(null)
        .with_stdout(stdio.out)
        .with_stderr(stdio.err)
        .as_init(run)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|e| failure(chain(&e)))?;
    let pid = container.pid().ok_or_else(|| failure("the runtime reported no process"))?;
    Ok(pid.as_raw())
}

/// Lets the first process go on; it executes the command next.
pub fn release() -> Result<(), String> {
    let path = Path::new(RUNTIME_ID).join("notify.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(path)
        .map_err(|e| format!("notify the container: {e}"))?;
    std::io::Write::write_all(&mut stream, b"start container")
        .map_err(|e| format!("notify the container: {e}"))
}

fn copy_up(plan: &Plan, root: &Root) -> Result<(), Failure> {
    for mount in &plan.mounts {
        let PlanMount::Bind { source, target, copy_up: true, .. } = mount else { continue };
        copy::fill(root, target, source)
            .map_err(|e| failure(format!("fill volume from {}: {e}", target.display())))?;
    }
    Ok(())
}

fn make_workdir(plan: &Plan, root: &Root) -> Result<(), Failure> {
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    if root.resolve(&plan.workdir).is_ok() {
        return Ok(());
    }
    root.mkdir_all(&plan.workdir, &mode)
        .map(drop)
        .map_err(|e| failure(format!("make working directory {}: {e}", plan.workdir)))
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = cause.source();
    }
    text
}
