//! The namespaces of one host: network, mount and UTS, pinned to files so that they outlive every
//! process in them; a restarted daemon finds the mounts of its containers again. Called by
//! [`Lab`](crate::Lab); the daemon itself is [`daemon`](crate::daemon)'s.
//!
//! A host shares the machine's files but has a `/run`, hostname and name resolution of its own. It
//! has no way out but to its bridge: nothing waits for an internet that may not be there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

use crate::error::LabError;
use crate::layout::{KINDS, Layout, RUN_INSIDE};
use crate::mounts::is_pin;
use crate::process::{Marks, kill_marked};
use crate::record::HostRecord;
use crate::tool::run;

/// How long killed processes of a half-made host may take to go.
const REMOVAL: Duration = Duration::from_secs(10);

/// Furnishes a host from within. The pins of other hosts came along as copies and would keep those
/// hosts' namespaces alive; one that cannot be unmounted has just gone with its lab. The cgroups
/// stay visible because `/sys` is left as it is. `-n` keeps `mount` from leaving files of its own
/// in the machine's `/run`.
const FURNISH: &str = r#"set -e
mount -n -t tmpfs -o mode=755 lab-run /run
umount -n -l -a -t nsfs 2>/dev/null || true
mkdir -p /run/lock "$3"
mount -n --bind "$2/run" "$3"
for file in hosts hostname resolv.conf; do
    [ ! -e "/etc/$file" ] || mount -n --bind "$2/etc/$file" "/etc/$file"
done
echo "$1" > /proc/sys/kernel/hostname
"#;

/// What a host's resolver is told: no server, so that lookups fail at once.
const RESOLV_CONF: &str = "# a lab's host has no name server\n";

/// Whether the host's namespaces are there and furnished.
pub(crate) fn is_up(layout: &Layout, host: &str) -> bool {
    KINDS.iter().all(|kind| is_pin(&layout.pin(host, kind))) && layout.ready_mark(host).exists()
}

/// Writes the host's own files; also when it is up, for the names of hosts added later.
pub(crate) fn write_files(
    layout: &Layout,
    host: &HostRecord,
    all: &[HostRecord],
) -> Result<(), LabError> {
    let name = host.name.as_str();
    let etc = layout.etc(name);
    for folder in [&layout.state(name), &layout.run(name), &etc] {
        fs::create_dir_all(folder).map_err(LabError::on_path("create", folder))?;
    }
    let files = [
        ("hosts", Layout::hosts_file(all)),
        ("hostname", format!("{name}\n")),
        ("resolv.conf", RESOLV_CONF.to_owned()),
    ];
    for (file, text) in files {
        let path = etc.join(file);
        fs::write(&path, text).map_err(LabError::on_path("write", &path))?;
    }
    Ok(())
}

/// Makes and furnishes the host's namespaces. What is left of an attempt that did not get to its
/// end is removed first.
pub(crate) fn raise(layout: &Layout, host: &str) -> Result<(), LabError> {
    clear(layout, host)?;
    let mut unshare = Command::new("unshare");
    for kind in KINDS {
        let pin = layout.pin(host, kind);
        File::create(&pin).map_err(LabError::on_path("create", &pin))?;
        unshare.arg(pin_argument(layout, host, kind));
    }
    run(unshare.args(["--propagation", "slave", "true"]), "")?;
    let mut furnish = enter(layout, host);
    furnish.args(["sh", "-c", FURNISH, "furnish", host]).arg(layout.host(host)).arg(RUN_INSIDE);
    run(&mut furnish, "").map(drop)
}

/// Notes that the host is complete.
pub(crate) fn mark_ready(layout: &Layout, host: &str) -> Result<(), LabError> {
    let mark = layout.ready_mark(host);
    File::create(&mark).map(drop).map_err(LabError::on_path("create", &mark))
}

fn clear(layout: &Layout, host: &str) -> Result<(), LabError> {
    let mark = layout.ready_mark(host);
    if mark.exists() {
        fs::remove_file(&mark).map_err(LabError::on_path("remove", &mark))?;
    }
    let pins = KINDS.map(|kind| layout.pin(host, kind));
    kill_marked(&Marks::new(&layout.host_cgroup(host), &pins), REMOVAL);
    for pin in pins.iter().filter(|pin| is_pin(pin)) {
        umount2(pin.as_path(), MntFlags::MNT_DETACH).map_err(LabError::on_path("unmount", pin))?;
    }
    Ok(())
}

/// The beginning of a command inside the host: the program and its arguments are to be added.
pub(crate) fn enter(layout: &Layout, host: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(KINDS.map(|kind| pin_argument(layout, host, kind))).arg("--");
    command
}

fn pin_argument(layout: &Layout, host: &str, kind: &str) -> OsString {
    let mut argument = OsString::from(format!("--{kind}="));
    argument.push(layout.pin(host, kind));
    argument
}

/// Runs `work` on a thread of its own in the network namespace that `pin` holds.
pub(crate) fn in_network<T: Send>(
    pin: &Path,
    work: impl FnOnce() -> T + Send,
) -> Result<T, LabError> {
    let namespace = File::open(pin).map_err(LabError::on_path("open", pin))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .map_err(LabError::on_path("enter", pin))?;
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
