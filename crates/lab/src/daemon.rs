//! The `swarmd` of one host: started inside the host's namespaces and in the lab's cgroup, detached
//! from whoever starts it. Called by [`Lab`](crate::Lab). It knows nothing of what the daemon does.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cgroup;
use crate::error::LabError;
use crate::host;
use crate::layout::{Layout, MAX_SOCKET, RUN_INSIDE, SOCKET};
use crate::process::{self, wait_until};
use crate::record::{HostRecord, Record};
use crate::tool::spawn_error;

/// The port nodes of a cluster reach each other by.
const PORT: u16 = 2377;

/// How long a daemon may take until its process is there, to end after SIGTERM, and after SIGKILL.
const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(60);
const KILL: Duration = Duration::from_secs(10);

/// Lines of the log that an error shows.
const TAIL_LINES: usize = 8;

/// How much of the end of a log is looked at for them.
const TAIL_BYTES: usize = 8192;

/// Joins the cgroup (if any), notes its own process id and becomes the daemon.
const BECOME: &str = r#"[ -z "$1" ] || echo $$ > "$1"
echo $$ > "$2.new" && mv "$2.new" "$2"
shift 2
exec "$@"
"#;

/// Refuses a daemon that cannot be executed, or whose socket could not be reached.
pub(crate) fn check(record: &Record, layout: &Layout) -> Result<(), LabError> {
    let path = &record.swarmd;
    let usable =
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if !usable || !path.is_absolute() {
        return Err(LabError::Invalid(format!(
            "{} is not the absolute path of an executable swarmd",
            path.display()
        )));
    }
    for host in &record.hosts {
        let socket = layout.socket(&host.name);
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET {
            return Err(LabError::Invalid(format!(
                "the path of the control socket {} has {length} bytes, at most {MAX_SOCKET} work: \
                 choose a shorter folder or name for the lab",
                socket.display()
            )));
        }
    }
    Ok(())
}

/// The running daemon's process id.
pub(crate) fn running(layout: &Layout, host: &str) -> Option<i32> {
    let pid = fs::read_to_string(layout.pid_file(host)).ok()?.trim().parse().ok()?;
    let pin = layout.pin(host, "mount");
    let is_ours = process::namespace_of(pid, "mnt")
        .is_some_and(|inode| crate::mounts::is_pin(&pin) && process::inode(&pin) == Some(inode));
    (is_ours && process::is_alive(pid)).then_some(pid)
}

/// Starts the daemon; it must not run yet. Returns its process id as soon as the process is there:
/// it may still fail, which [`wait_ready`] finds out.
pub(crate) fn start(layout: &Layout, record: &Record, host: &HostRecord) -> Result<i32, LabError> {
    let name = host.name.as_str();
    let (log_path, pid_file) = (layout.log(name), layout.pid_file(name));
    remove_if_there(&pid_file)?;
    remove_if_there(&layout.socket(name))?;
    let log = open_log(&log_path)?;
    let errors = log.try_clone().map_err(LabError::on_path("open", &log_path))?;
    let join = cgroup::join_file(&format!("{}/daemon", layout.host_cgroup(name)));
    let mut command = host::enter(layout, name);
    command
        .args(["setsid", "--fork", "sh", "-c", BECOME, "swarmd"])
        .arg(join.unwrap_or_default())
        .arg(&pid_file)
        .arg(&record.swarmd)
        .args(arguments(layout, host))
        .args(&record.arguments)
        .env_remove("SWARM_HOST")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    let status = command.status().map_err(|error| spawn_error(&command, error))?;
    let mut pid = None;
    let there = status.success()
        && wait_until(START, || {
            pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
            pid.is_some()
        });
    match pid {
        Some(pid) if there => Ok(pid),
        _ => Err(died(layout, name)),
    }
}

fn arguments(layout: &Layout, host: &HostRecord) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> =
        vec!["--state-dir".into(), layout.state(&host.name).into()];
    let rest = [
        ("--run-dir", RUN_INSIDE.to_owned()),
        ("--listen-addr", format!("{}:{PORT}", host.address)),
        ("--advertise-addr", host.address.to_string()),
        ("--host", format!("unix://{RUN_INSIDE}/{SOCKET}")),
        ("--hostname", host.name.clone()),
        ("--cgroup-parent", layout.host_cgroup(&host.name)),
    ];
    words.extend(rest.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
    words
}

/// Waits until the daemon accepts connections on its control socket.
pub(crate) fn wait_ready(layout: &Layout, host: &str, patience: Duration) -> Result<(), LabError> {
    let socket = layout.socket(host);
    let (mut ready, mut dead) = (false, false);
    wait_until(patience, || {
        ready = UnixStream::connect(&socket).is_ok();
        dead = !ready && running(layout, host).is_none();
        ready || dead
    });
    match (ready, dead) {
        (true, _) => Ok(()),
        (false, true) => Err(died(layout, host)),
        (false, false) => Err(LabError::Timeout {
            what: format!("swarmd of host {host} did not open {}", socket.display()),
            seconds: patience.as_secs(),
        }),
    }
}

/// Ends the daemon: politely, waiting until it is gone, or at once. Nothing else on the host is
/// touched. Ending one that does not run changes nothing.
pub(crate) fn end(layout: &Layout, host: &str, signal: Signal) -> Result<(), LabError> {
    let Some(pid) = running(layout, host) else { return Ok(()) };
    let patience = if signal == Signal::SIGKILL { KILL } else { STOP };
    process::send(pid, signal);
    if wait_until(patience, || !process::is_alive(pid)) {
        return remove_if_there(&layout.pid_file(host));
    }
    Err(LabError::Timeout {
        what: format!("swarmd of host {host} (pid {pid}) did not end after {signal}"),
        seconds: patience.as_secs(),
    })
}

fn died(layout: &Layout, host: &str) -> LabError {
    let log = layout.log(host);
    let bytes = fs::read(&log).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
    let text = String::from_utf8_lossy(end);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    LabError::Died { host: host.to_owned(), log, tail }
}

fn open_log(path: &Path) -> Result<File, LabError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(LabError::on_path("open", path))
}

fn remove_if_there(path: &Path) -> Result<(), LabError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::on_path("remove", path)(error))
        }
        _ => Ok(()),
    }
}
