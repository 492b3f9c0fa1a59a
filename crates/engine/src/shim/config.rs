//! Renders a plan as the OCI runtime configuration libcontainer reads. Pure but for questions
//! to the host: which cgroups it has, and what they limit. Capabilities and the system call filter are left
//! out on purpose: `process` applies them itself, from a compiled filter, for the first process
//! and for exec alike.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::Placed;
use super::user::User;
use crate::cgroup::{self, ROOT as CGROUP_ROOT};
use crate::plan::{Plan, PlanMount};
use crate::profile;
use crate::spec::{NetworkMode, Resources};

/// Files made per container, by their names in its directory and their targets.
const OWN_FILES: &[(&str, &str)] =
    &[("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")];

/// Version 1 controllers programs look at to learn their limits.
const V1_CONTROLLERS: &[&str] = &["cpu", "cpuacct", "cpu,cpuacct", "cpuset", "memory", "pids"];

/// Length of a CPU scheduling period in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The configuration. `binds` holds the source to use for each mount of the plan.
pub fn render(
    plan: &Plan,
    user: &User,
    secrets: &[Placed],
    binds: &[PathBuf],
    root: &Path,
) -> Value {
    let mut mounts = system_mounts(plan);
    mounts.extend(cgroup_mounts(plan));
    mounts.extend(own_files(plan));
    mounts.extend(planned_mounts(plan, binds));
    let mut placed: Vec<&Placed> = secrets.iter().collect();
    placed.sort();
    mounts.extend(placed.into_iter().map(|(target, source)| {
        json!({ "destination": target, "type": "bind", "source": source,
                "options": ["bind", "ro", "nosuid", "nodev", "noexec"] })
    }));
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process(plan, user),
        "root": { "path": root, "readonly": plan.read_only },
        "hostname": plan.hostname,
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces(&plan.network),
            "cgroupsPath": plan.cgroup,
            "resources": resources(plan),
            "sysctl": plan.sysctls,
            "maskedPaths": profile::MASKED_PATHS,
            "readonlyPaths": readonly_paths(),
        },
    });
    if let Some(domain) = &plan.domainname {
        config["domainname"] = json!(domain);
    }
    config
}

fn process(plan: &Plan, user: &User) -> Value {
    let mut env = plan.env.clone();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    let rlimits: Vec<Value> = plan
        .ulimits
        .iter()
        .map(|limit| {
            let kind = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
            json!({ "type": kind, "soft": limit.soft, "hard": limit.hard })
        })
        .collect();
    let mut process = json!({
        "terminal": false,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": plan.args,
        "env": env,
        "cwd": plan.workdir,
        "rlimits": rlimits,
    });
    if plan.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    if let Some(score) = plan.oom_score_adj {
        process["oomScoreAdj"] = json!(score);
    }
    process
}

fn namespaces(network: &NetworkMode) -> Vec<Value> {
    let mut list: Vec<Value> =
        ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind })).into();
    match network {
        NetworkMode::None => list.push(json!({ "type": "network" })),
        NetworkMode::Namespace(path) => list.push(json!({ "type": "network", "path": path })),
        NetworkMode::Host => {}
    }
    list
}

fn system_mounts(plan: &Plan) -> Vec<Value> {
    let quiet = ["nosuid", "noexec", "nodev"];
    let shm = format!("size={}", plan.shm_size);
    vec![
        mount("/proc", "proc", "proc", &quiet),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
    ]
}

/// The container's own groups, read-only: runtimes size themselves by them. On version 1 the
/// directories are bound one by one, because libcontainer's own cgroup mount would be writable
/// there and let a container lift its limits.
fn cgroup_mounts(plan: &Plan) -> Vec<Value> {
    let options = ["ro", "nosuid", "noexec", "nodev"];
    if cgroup::unified() {
        return vec![mount(CGROUP_ROOT, "cgroup", "cgroup", &options)];
    }
    let base = mount(CGROUP_ROOT, "tmpfs", "tmpfs", &["nosuid", "noexec", "nodev", "mode=755"]);
    let groups = V1_CONTROLLERS.iter().map(|name| format!("{CGROUP_ROOT}/{name}"));
    let present = groups.filter(|path| Path::new(path).is_dir()).map(|path| {
        let source = format!("{path}/{}", plan.cgroup.trim_start_matches('/'));
        let bound = ["bind", "ro", "nosuid", "noexec", "nodev"];
        mount(&path, "bind", &source, &bound)
    });
    std::iter::once(base).chain(present).collect()
}

fn readonly_paths() -> Vec<&'static str> {
    let cgroup = (!cgroup::unified()).then_some(CGROUP_ROOT);
    profile::READONLY_PATHS.iter().copied().chain(cgroup).collect()
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

fn own_files(plan: &Plan) -> Vec<Value> {
    let replaced = |target: &str| plan.mounts.iter().any(|m| m.target() == Path::new(target));
    OWN_FILES
        .iter()
        .filter(|(_, target)| !replaced(target))
        .map(|(name, target)| {
            json!({ "destination": target, "type": "bind", "source": plan.dir.join(name),
                    "options": ["bind", "rprivate"] })
        })
        .collect()
}

/// Parents before children, so that none hides another.
fn planned_mounts(plan: &Plan, binds: &[PathBuf]) -> Vec<Value> {
    let mut pairs: Vec<(&PlanMount, &PathBuf)> = plan.mounts.iter().zip(binds).collect();
    pairs.sort_by(|a, b| a.0.target().cmp(b.0.target()));
    pairs.into_iter().map(|(planned, source)| planned_mount(planned, source)).collect()
}

fn planned_mount(planned: &PlanMount, source: &Path) -> Value {
    match planned {
        PlanMount::Bind { target, read_only, propagation, recursive, .. } => {
            let mut options = vec![if *recursive { "rbind" } else { "bind" }];
            options.push(propagation.option());
            if *read_only {
                options.extend(if *recursive { &["ro", "rro"][..] } else { &["ro"] });
            }
            json!({ "destination": target, "type": "bind", "source": source, "options": options })
        }
        PlanMount::Tmpfs { target, size, mode } => {
            let mut options: Vec<String> = ["nosuid", "noexec", "nodev"].map(str::to_owned).into();
            options.push(format!("mode={mode:o}"));
            options.extend(size.map(|size| format!("size={size}")));
            json!({ "destination": target, "type": "tmpfs", "source": "tmpfs",
                    "options": options })
        }
    }
}

fn resources(plan: &Plan) -> Value {
    let limits = &plan.resources;
    let mut value = json!({ "devices": devices() });
    // A limit that was asked for is tried in any case, and its failure reported.
    if limits.pids.is_some() || cgroup::counts_processes(&plan.cgroup) {
        value["pids"] = json!({ "limit": limits.pids.unwrap_or(profile::PIDS_LIMIT) });
    }
    if let Some(memory) = memory(limits, &plan.cgroup) {
        value["memory"] = memory;
    }
    let mut cpu = serde_json::Map::new();
    if let Some(nanos) = limits.nano_cpus {
        let quota = u128::from(nanos) * u128::from(CPU_PERIOD) / 1_000_000_000;
        // The kernel refuses quotas under a millisecond.
        cpu.insert("quota".to_owned(), json!(u64::try_from(quota).unwrap_or(u64::MAX).max(1000)));
        cpu.insert("period".to_owned(), json!(CPU_PERIOD));
    }
    if let Some(shares) = limits.cpu_shares {
        cpu.insert("shares".to_owned(), json!(shares));
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        cpu.insert("cpus".to_owned(), json!(cpus));
    }
    if !cpu.is_empty() {
        value["cpu"] = Value::Object(cpu);
    }
    value
}

fn memory(limits: &Resources, cgroup: &str) -> Option<Value> {
    let mut memory = serde_json::Map::new();
    if let Some(limit) = limits.memory {
        memory.insert("limit".to_owned(), json!(limit));
        if cgroup::counts_swap(cgroup) {
            let swap = limits.memory_swap.unwrap_or(i64::try_from(limit * 2).unwrap_or(-1));
            memory.insert("swap".to_owned(), json!(swap));
        }
    }
    if let Some(reservation) = limits.memory_reservation {
        memory.insert("reservation".to_owned(), json!(reservation));
    }
    (!memory.is_empty()).then_some(Value::Object(memory))
}

/// Version 1 and libcontainer read them; on version 2 they become a program, see `cgroup::device`.
fn devices() -> Value {
    let refused = json!({ "allow": false, "access": "rwm" });
    let allowed = profile::device::ALLOWED.iter().map(|rule| {
        json!({ "allow": true, "type": rule.kind, "major": rule.major, "minor": rule.minor,
                "access": rule.access })
    });
    std::iter::once(refused).chain(allowed).collect()
}
