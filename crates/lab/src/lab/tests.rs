//! Labs on the real kernel, with a stand-in for `swarmd` that starts a child of its own, as the
//! real one starts shims, and waits.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::labs::{LabOptions, Labs};
use crate::process::{is_alive, namespace_of};
use crate::record::Role;

const PORT: u16 = 7000;

/// Long enough for a busy machine to connect, short enough to wait for a connection that must fail.
const CONNECT: Duration = Duration::from_secs(1);

/// Runs as `swarmd --state-dir S … --cgroup-parent P --marker`. Its child is in namespaces and, on
/// v1, in cgroups of its own, as a container is.
const STAND_IN: &str = r#"#!/bin/sh
unshare --net --mount sleep 1000 &
for hierarchy in memory pids; do
    box=/sys/fs/cgroup/$hierarchy/${14}/box
    [ ! -d /sys/fs/cgroup/$hierarchy ] || { mkdir -p $box && echo $! > $box/cgroup.procs; }
done
echo $! > "$2/child"
echo "$@"
exec sleep 1001
"#;

/// A root folder and a stand-in daemon; removes every lab in it however the test ends.
struct Bench {
    folder: tempfile::TempDir,
    labs: Labs,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in self.labs.list().unwrap_or_default() {
            let _ = self.labs.remove(&name, &|_| ());
        }
    }
}

/// `None`, with the reason printed, where labs cannot be made.
fn bench() -> Option<Bench> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a lab needs root");
        return None;
    }
    let missing = ["ip", "nft", "nsenter", "unshare"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarmd");
    fs::write(&path, STAND_IN).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let labs = Labs::at(&folder.path().join("labs"));
    Some(Bench { folder, labs })
}

impl Bench {
    fn options(&self, name: &str, managers: u8, workers: u8) -> LabOptions {
        LabOptions {
            name: name.into(),
            managers,
            workers,
            swarmd: self.folder.path().join("swarmd"),
            arguments: vec!["--marker".into()],
        }
    }

    fn up(&self, name: &str, managers: u8, workers: u8) -> Lab {
        self.labs.create(&self.options(name, managers, workers), &|_| ()).unwrap()
    }
}

impl Lab {
    fn pid(&self, host: &str) -> i32 {
        match self.state(host) {
            HostState::Running(pid) => pid,
            other => panic!("{host} is {other:?}"),
        }
    }

    /// The pid of the daemon's child; the daemon may not have written it yet.
    fn child(&self, host: &str) -> i32 {
        let path = self.layout.state(host).join("child");
        let mut pid = None;
        crate::process::wait_until(Duration::from_secs(20), || {
            pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            pid.is_some()
        });
        pid.unwrap()
    }

    fn listen(&self, host: &str) -> TcpListener {
        let address = self.record.host(host).unwrap().address;
        self.in_network(host, || TcpListener::bind((address, PORT)).unwrap()).unwrap()
    }

    /// Addresses are resolved anew after a heal, which may take a second.
    fn soon_reaches(&self, from: &str, to: &str) -> bool {
        crate::process::wait_until(Duration::from_secs(20), || self.reaches(from, to))
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let to = SocketAddr::from((self.record.host(to).unwrap().address, PORT));
        self.in_network(from, || TcpStream::connect_timeout(&to, CONNECT).is_ok()).unwrap()
    }

    fn machine_reaches(&self, host: &str) -> bool {
        let to = SocketAddr::from((self.record.host(host).unwrap().address, PORT));
        TcpStream::connect_timeout(&to, CONNECT).is_ok()
    }

    /// Everything on the machine that bears the lab's names.
    fn traces(&self) -> Vec<String> {
        let link = Path::new("/sys/class/net").join(self.layout.machine_link());
        let cgroups = ["", "unified", "systemd", "pids", "memory"]
            .map(|h| Path::new("/sys/fs/cgroup").join(h).join(self.layout.cgroup()));
        let paths = [link, self.layout.folder.clone()].into_iter().chain(cgroups);
        let mut traces: Vec<String> =
            paths.filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
        let mounts = mounts::below(&self.layout.folder).unwrap();
        traces.extend(mounts.iter().map(|mount| mount.display().to_string()));
        traces
    }
}

#[test]
fn a_lab_runs_a_daemon_on_every_host_and_leaves_nothing_behind() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("whole", 2, 1);
    let status = lab.status().unwrap();
    let names: Vec<_> = status.iter().map(|s| (s.host.name.as_str(), s.host.role)).collect();
    assert_eq!(names, [("m1", Role::Manager), ("m2", Role::Manager), ("w1", Role::Worker)]);
    assert!(status.iter().all(|s| matches!(s.state, HostState::Running(_)) && !s.cut));
    let pids: Vec<i32> =
        ["m1", "m2", "w1"].iter().flat_map(|host| [lab.pid(host), lab.child(host)]).collect();
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 6);

    let log = fs::read_to_string(lab.log("m2").unwrap()).unwrap();
    let address = lab.nodes()[1].address;
    for part in [
        "--run-dir /run/swarmd".to_owned(),
        format!("--listen-addr {address}:2377 --advertise-addr {address}"),
        "--host unix:///run/swarmd/swarmd.sock --hostname m2 --cgroup-parent swarm-lab/".to_owned(),
        "/m2 --marker".to_owned(),
    ] {
        assert!(log.contains(&part), "{part:?} is not in {log}");
    }

    lab.down(&|_| ()).unwrap();
    assert_eq!(lab.traces(), Vec::<String>::new());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(matches!(bench.labs.open("whole"), Err(LabError::NoSuchLab(_))));
    assert!(bench.labs.list().unwrap().is_empty());
}

#[test]
fn a_host_has_its_own_name_run_folder_and_resolver_and_sees_cgroups() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("inside", 1, 1);
    let say = |words: &[&str]| {
        let output = lab.exec("m1", words).unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(say(&["cat", "/proc/sys/kernel/hostname"]), "m1\n");
    say(&["touch", "/run/only-in-m1"]);
    assert!(!Path::new("/run/only-in-m1").exists());
    assert!(!say(&["cat", "/etc/resolv.conf"]).contains("nameserver"));
    let worker = lab.nodes()[1].address.to_string();
    assert!(say(&["getent", "hosts", "w1"]).starts_with(&worker));
    assert_eq!(say(&["ls", "/sys/fs/cgroup"]), {
        let output = Command::new("ls").arg("/sys/fs/cgroup").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(say(&["sh", "-c", "echo $SWARM_HOST"]), "unix:///run/swarmd/swarmd.sock\n");
    assert!(!say(&["cat", "/proc/self/mountinfo"]).contains(" nsfs "), "pins of other hosts");

    say(&["touch", "/run/swarmd/swarmd.sock"]);
    let seen = lab.env("m1").unwrap();
    assert!(Path::new(seen.strip_prefix("unix://").unwrap()).exists(), "{seen}");
    let error = lab.exec("m9", &["true"]).unwrap_err().to_string();
    assert!(error.contains("no host \"m9\" (its hosts: m1, w1)"), "{error}");
}

#[test]
fn a_restarted_daemon_finds_the_mounts_and_children_of_the_one_before() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("again", 1, 0);
    let (first, child) = (lab.pid("m1"), lab.child("m1"));
    let namespaces = |pid| ["mnt", "net", "uts"].map(|kind| namespace_of(pid, kind));
    let before = namespaces(first);
    let mounted = lab.exec("m1", &["mount", "-t", "tmpfs", "kept", "/mnt"]).unwrap();
    assert!(mounted.status.success());

    lab.kill("m1").unwrap();
    assert_eq!(lab.state("m1"), HostState::Stopped);
    assert!(is_alive(child), "kill must not touch what the daemon started");
    let second = lab.start("m1").unwrap();
    assert_ne!(second, first);
    assert_eq!(namespaces(second), before);
    let table = fs::read_to_string(format!("/proc/{second}/mountinfo")).unwrap();
    assert!(table.contains("kept"), "{table}");
    assert_eq!(lab.start("m1").unwrap(), second, "a running daemon is left alone");

    lab.stop("m1").unwrap();
    assert!(!is_alive(second) && is_alive(child));
    lab.stop("m1").unwrap();
    lab.down(&|_| ()).unwrap();
    assert!(!is_alive(child));
}

#[test]
fn a_cut_host_is_unreachable_until_it_is_healed() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("cut", 2, 1);
    let _listeners = ["m1", "m2", "w1"].map(|host| lab.listen(host));
    assert!(lab.machine_reaches("m1") && lab.reaches("m1", "m2") && lab.reaches("w1", "m1"));

    lab.cut("m1").unwrap();
    assert!(lab.status().unwrap()[0].cut);
    assert!(!lab.reaches("m2", "m1") && !lab.reaches("m1", "m2") && !lab.machine_reaches("m1"));
    assert!(lab.reaches("m2", "w1"));

    lab.heal("m1").unwrap();
    assert!(lab.soon_reaches("m2", "m1") && lab.soon_reaches("m1", "m2"));
}

#[test]
fn a_partition_separates_groups_but_not_the_machine() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("parts", 3, 1);
    let _listeners = ["m1", "m2", "m3", "w1"].map(|host| lab.listen(host));
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();

    lab.partition(&[names(&["m1", "w1"]), names(&["m2", "m3"])]).unwrap();
    assert!(lab.reaches("m1", "w1") && lab.reaches("m3", "m2"));
    assert!(!lab.reaches("m1", "m2") && !lab.reaches("m3", "w1"));
    assert!(lab.machine_reaches("m1") && lab.machine_reaches("m2"));

    lab.partition(&[names(&["m3"])]).unwrap();
    assert!(lab.soon_reaches("m1", "m2"));
    assert!(!lab.reaches("m3", "m1") && !lab.reaches("w1", "m3"));

    lab.heal_all().unwrap();
    assert!(lab.soon_reaches("m1", "m3") && lab.soon_reaches("m3", "w1"));

    let error = lab.partition(&[names(&["m1"]), names(&["m1"])]).unwrap_err().to_string();
    assert_eq!(error, "host m1 is in the partition twice");
    let error = lab.partition(&[]).unwrap_err().to_string();
    assert_eq!(error, "a partition needs at least two groups of hosts");
}

#[test]
fn labs_side_by_side_share_nothing() {
    let Some(bench) = bench() else { return };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| bench.up("one", 1, 1));
        let two = scope.spawn(|| bench.up("two", 1, 0));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_ne!(one.subnet(), two.subnet());
    assert_eq!(bench.labs.list().unwrap(), ["one", "two"]);
    let listener = two.listen("m1");
    let address = listener.local_addr().unwrap();
    let reached = one.in_network("m1", || TcpStream::connect_timeout(&address, CONNECT).is_ok());
    assert!(!reached.unwrap());

    one.down(&|_| ()).unwrap();
    assert!(two.machine_reaches("m1"));
    assert!(is_alive(two.pid("m1")));
    two.down(&|_| ()).unwrap();
    assert_eq!((one.traces(), two.traces()), (Vec::new(), Vec::new()));
}

#[test]
fn one_lab_brought_up_twice_at_once_is_one_lab_and_can_grow() {
    let Some(bench) = bench() else { return };
    let pids = std::thread::scope(|scope| {
        let ups = [(); 2].map(|()| scope.spawn(|| bench.up("same", 2, 0)));
        ups.map(|up| {
            let lab = up.join().unwrap();
            (lab.subnet(), lab.pid("m1"), lab.pid("m2"))
        })
    });
    assert_eq!(pids[0], pids[1]);

    let lab = bench.up("same", 2, 1);
    assert_eq!((lab.subnet(), lab.pid("m1"), lab.pid("m2")), pids[0]);
    let _listener = lab.listen("w1");
    assert!(lab.reaches("m1", "w1"));
    let hosts = lab.exec("m1", &["getent", "hosts", "w1"]).unwrap();
    assert!(hosts.status.success(), "m1 does not know the new host's name");
    let error = bench.labs.create(&bench.options("same", 1, 1), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("already has 2 managers"), "{error}");
}

#[test]
fn a_lab_is_raised_again_after_everything_in_it_died() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("phoenix", 1, 1);
    // What a reboot leaves: files and nothing else.
    crate::process::kill_marked(
        &crate::process::Marks::new(&lab.layout.cgroup(), &[]),
        Duration::from_secs(20),
    );
    network::remove_machine_link(&lab.layout).unwrap();
    assert!(mounts::remove_below(lab.folder()).unwrap().is_empty());
    assert!(lab.status().unwrap().iter().all(|s| s.state == HostState::Down && s.cut));
    let error = lab.start("m1").unwrap_err().to_string();
    assert_eq!(error, "host m1 of lab \"phoenix\" is not up: bring the lab up again");

    lab.raise(&|_| ()).unwrap();
    let _listener = lab.listen("w1");
    assert!(lab.reaches("m1", "w1") && lab.machine_reaches("w1"));
    lab.pid("m1");
}

#[test]
fn down_works_on_what_any_crash_left_and_says_what_is_not_a_lab() {
    let Some(bench) = bench() else { return };
    let lab = bench.up("wreck", 1, 1);
    let pids = [lab.pid("m1"), lab.child("m1"), lab.pid("w1"), lab.child("w1")];
    lab.kill("m1").unwrap();
    lab.exec("w1", &["mount", "-t", "tmpfs", "busy", "/mnt"]).unwrap();
    let mut visitor = lab.command("w1", "sleep").unwrap();
    let mut visitor = visitor.arg("1002").spawn().unwrap();
    fs::write(lab.folder().join("lab.json"), "{").unwrap();
    fs::remove_file(lab.layout.ready_mark("w1")).unwrap();
    assert!(matches!(bench.labs.open("wreck"), Err(LabError::Record { .. })));

    bench.labs.remove("wreck", &|_| ()).unwrap();
    visitor.wait().unwrap();
    assert_eq!(lab.traces(), Vec::<String>::new());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(matches!(bench.labs.remove("wreck", &|_| ()), Err(LabError::NoSuchLab(_))));
}

#[test]
fn a_daemon_that_dies_at_once_is_reported_with_the_end_of_its_log() {
    let Some(bench) = bench() else { return };
    fs::write(bench.folder.path().join("swarmd"), "#!/bin/sh\necho no such flag >&2\nexit 1\n")
        .unwrap();
    let lab = bench.up("dies", 1, 0);
    let error = lab.wait_ready("m1", Duration::from_secs(20)).unwrap_err().to_string();
    assert!(error.starts_with("swarmd of host m1 is not running"), "{error}");
    assert!(error.ends_with("no such flag"), "{error}");
}

#[test]
fn a_lab_that_cannot_be_is_refused_before_anything_is_made() {
    let Some(bench) = bench() else { return };
    let mut options = bench.options("never", 1, 0);
    options.swarmd = "/nowhere/swarmd".into();
    let error = bench.labs.create(&options, &|_| ()).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/swarmd is not the absolute path of an executable swarmd");
    let error = bench.labs.create(&bench.options("none", 0, 0), &|_| ()).unwrap_err().to_string();
    assert_eq!(error, "a lab needs at least one host");
    let deep = Labs::at(&bench.folder.path().join("x".repeat(90)));
    let error = deep.create(&bench.options("deep", 1, 0), &|_| ()).unwrap_err().to_string();
    assert!(error.contains("at most 107 work"), "{error}");
    assert!(bench.labs.list().unwrap().is_empty());
}
