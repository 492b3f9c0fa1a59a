//! From a task to the engine's container: placeholders filled in, secrets and configs put in place, defaults left to the
//! engine. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use swarm_api::mount::Type;
use swarm_api::template::{self, Context, TemplateError};
use swarm_api::time::to_std;
use swarm_api::{
    ContainerSpec, FileTarget, HealthConfig, LogDriver, Mount, ResourceRequirements, Task, size,
};
use swarm_engine::spec as engine;
use zeroize::Zeroizing;

use crate::assignment::{Assignments, Data};
use crate::networks::Naming;

const DNS_PORT: u16 = 53;

/// Why a task makes no container.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A placeholder.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A secret or config did not come with the task.
    #[error("{kind} {name} is not available on this node")]
    NoFile {
        /// `secret` or `config`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that does not parse.
    #[error("invalid {what} \"{value}\"")]
    Invalid {
        /// Which.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// The container of `task`. Its network is filled in by the caller.
pub fn container(
    task: &Task,
    set: &Assignments,
    context: &Context,
) -> Result<engine::ContainerSpec, SpecError> {
    let task_spec = task.spec.clone().unwrap_or_default();
    let spec = task_spec.container.clone().unwrap_or_default();
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let env = spec.env.iter().map(|e| template::expand_env(e, context));
    let hostname = match spec.hostname.is_empty() {
        true => is_on_host(&task_spec).then(|| context.node_hostname.clone()),
        false => Some(template::expand(&spec.hostname, context)?),
    };
    Ok(engine::ContainerSpec {
        name: task.full_name(),
        labels: labels(task, &spec, context),
        image: spec.image.clone(),
        entrypoint: (!spec.command.is_empty()).then(|| spec.command.clone()),
        cmd: spec.args.clone(),
        env: env.collect::<Result<_, _>>()?,
        workdir: text(&spec.dir),
        user: text(&spec.user),
        groups: spec.groups.clone(),
        hostname,
        hosts: hosts(&spec)?,
        resolv_conf: resolv_conf(&spec, &task_spec),
        mounts: spec.mounts.iter().map(|m| mount(m, context)).collect::<Result<_, _>>()?,
        files: files(&spec, set)?,
        resources: resources(task_spec.resources.as_ref()),
        cap_add: spec.cap_add.clone(),
        cap_drop: spec.cap_drop.clone(),
        ulimits: spec.ulimits.iter().map(ulimit).collect(),
        sysctls: spec.sysctls.clone(),
        read_only: spec.read_only,
        init: spec.init.unwrap_or(false),
        tty: spec.tty,
        stop_signal: text(&spec.stop_signal),
        stop_grace: spec.stop_grace_period.as_ref().map(to_std),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        oom_score_adj: i32::try_from(spec.oom_score_adj).ok().filter(|adj| *adj != 0),
        log: log_limits(task_spec.log_driver.as_ref())?,
        ..engine::ContainerSpec::default()
    })
}

/// Resolvers that the spec asks for.
pub fn naming(spec: &ContainerSpec) -> Result<Naming, SpecError> {
    let servers = spec.dns.as_ref().map(|d| d.nameservers.as_slice()).unwrap_or_default();
    let parse = |text: &String| match text.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, DNS_PORT)),
        Err(_) => Err(SpecError::Invalid { what: "name server", value: text.clone() }),
    };
    Ok(Naming { nameservers: servers.iter().map(parse).collect::<Result<_, _>>()? })
}

/// Docker's labels, which override the user's.
fn labels(task: &Task, spec: &ContainerSpec, context: &Context) -> BTreeMap<String, String> {
    let mut labels = spec.labels.clone();
    let service = task.service_annotations.as_ref().map_or("", |a| &a.name);
    for (key, value) in [
        ("com.docker.swarm.task", ""),
        ("com.docker.swarm.task.id", &task.id),
        ("com.docker.swarm.task.name", &task.full_name()),
        ("com.docker.swarm.node.id", &context.node_id),
        ("com.docker.swarm.service.id", &task.service_id),
        ("com.docker.swarm.service.name", service),
    ] {
        labels.insert(key.into(), value.to_owned());
    }
    labels
}

/// "IP host" lines.
fn hosts(spec: &ContainerSpec) -> Result<Vec<(IpAddr, String)>, SpecError> {
    let invalid = |line: &String| SpecError::Invalid { what: "host entry", value: line.clone() };
    let parse = |line: &String| {
        let (ip, name) = line.split_once(' ').ok_or_else(|| invalid(line))?;
        Ok((ip.parse().map_err(|_| invalid(line))?, name.trim().to_owned()))
    };
    spec.hosts.iter().map(parse).collect()
}

/// Whether the task has the node's own network, and with it the node's name.
fn is_on_host(task: &swarm_api::TaskSpec) -> bool {
    task.networks.first().is_some_and(|n| n.target == "host")
}

/// Names are asked of the node's resolver at 127.0.0.11, except in the host's own network, where `None` is the node's own file.
fn resolv_conf(spec: &ContainerSpec, task: &swarm_api::TaskSpec) -> Option<String> {
    let dns = spec.dns.clone().unwrap_or_default();
    let on_host = task.networks.first().is_some_and(|n| n.target == "host");
    if on_host && dns == swarm_api::DnsConfig::default() {
        return None;
    }
    let servers = match on_host {
        true => dns.nameservers.clone(),
        false => vec!["127.0.0.11".to_owned()],
    };
    let mut lines: Vec<String> = servers.iter().map(|s| format!("nameserver {s}")).collect();
    if !dns.search.is_empty() {
        lines.push(format!("search {}", dns.search.join(" ")));
    }
    let mut options = dns.options;
    if !on_host && !options.iter().any(|o| o.starts_with("ndots:")) {
        options.push("ndots:0".into());
    }
    if !options.is_empty() {
        lines.push(format!("options {}", options.join(" ")));
    }
    Some(lines.join("\n") + "\n")
}

fn mount(mount: &Mount, context: &Context) -> Result<engine::Mount, SpecError> {
    let source = template::expand(&mount.source, context)?;
    let read_only = mount.read_only;
    let kind = match mount.r#type() {
        Type::Bind => engine::MountKind::Bind {
            source: PathBuf::from(source),
            read_only,
            propagation: propagation(&mount.bind_propagation)?,
            recursive: !mount.bind_nonrecursive,
        },
        Type::Volume => engine::MountKind::Volume {
            name: source,
            read_only,
            nocopy: mount.volume_nocopy,
            labels: mount.volume_labels.clone(),
        },
        Type::Tmpfs => engine::MountKind::Tmpfs {
            size: u64::try_from(mount.tmpfs_size_bytes).ok().filter(|s| *s > 0),
            mode: Some(mount.tmpfs_mode).filter(|m| *m > 0),
        },
    };
    Ok(engine::Mount { target: template::expand(&mount.target, context)?.into(), kind })
}

fn propagation(text: &str) -> Result<engine::Propagation, SpecError> {
    Ok(match text {
        "" | "rprivate" => engine::Propagation::Rprivate,
        "private" => engine::Propagation::Private,
        "rslave" => engine::Propagation::Rslave,
        "slave" => engine::Propagation::Slave,
        "rshared" => engine::Propagation::Rshared,
        "shared" => engine::Propagation::Shared,
        _ => {
            return Err(SpecError::Invalid { what: "bind propagation", value: text.to_owned() });
        }
    })
}

fn files(spec: &ContainerSpec, set: &Assignments) -> Result<Vec<engine::SecretFile>, SpecError> {
    let secrets = spec.secrets.iter().map(|s| {
        let data = set.secrets.get(&s.secret_id);
        file("secret", &s.secret_name, s.file.as_ref(), data, "/run/secrets")
    });
    let configs = spec.configs.iter().map(|c| {
        let data = set.configs.get(&c.config_id);
        file("config", &c.config_name, c.file.as_ref(), data, "/")
    });
    secrets.chain(configs).collect()
}

fn file(
    kind: &'static str,
    name: &str,
    target: Option<&FileTarget>,
    data: Option<&Data>,
    folder: &str,
) -> Result<engine::SecretFile, SpecError> {
    let data = data.ok_or_else(|| SpecError::NoFile { kind, name: name.to_owned() })?;
    let target = target.cloned().unwrap_or_default();
    let path = match target.name.is_empty() {
        true => name,
        false => &target.name,
    };
    let id = |what: &'static str, text: &str| match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| SpecError::Invalid { what, value: text.to_owned() }),
    };
    Ok(engine::SecretFile {
        // An absolute target replaces the folder.
        target: PathBuf::from(folder).join(path),
        uid: id("uid", &target.uid)?,
        gid: id("gid", &target.gid)?,
        mode: target.mode,
        data: Zeroizing::new(data.to_vec()),
    })
}

fn resources(requirements: Option<&ResourceRequirements>) -> engine::Resources {
    let limits = requirements.and_then(|r| r.limits.clone()).unwrap_or_default();
    let reserved = requirements.and_then(|r| r.reservations.clone()).unwrap_or_default();
    let positive = |value: i64| u64::try_from(value).ok().filter(|v| *v > 0);
    engine::Resources {
        nano_cpus: positive(limits.nano_cpus),
        memory: positive(limits.memory_bytes),
        memory_reservation: positive(reserved.memory_bytes),
        pids: Some(limits.pids).filter(|p| *p > 0),
        ..engine::Resources::default()
    }
}

fn ulimit(limit: &swarm_api::Ulimit) -> engine::Ulimit {
    // -1 is "unlimited", which is what the largest value means to the kernel.
    let value = |v: i64| u64::try_from(v).unwrap_or(u64::MAX);
    engine::Ulimit { name: limit.name.clone(), soft: value(limit.soft), hard: value(limit.hard) }
}

fn healthcheck(config: &HealthConfig) -> engine::Healthcheck {
    let time =
        |d: &Option<prost_types::Duration>| d.as_ref().map(to_std).filter(|d| *d > Duration::ZERO);
    engine::Healthcheck {
        test: config.test.clone(),
        interval: time(&config.interval),
        timeout: time(&config.timeout),
        start_period: time(&config.start_period),
        start_interval: time(&config.start_interval),
        retries: Some(config.retries).filter(|r| *r > 0),
    }
}

/// The options of Docker's json-file driver; the log itself is always the engine's own.
fn log_limits(driver: Option<&LogDriver>) -> Result<engine::LogLimits, SpecError> {
    let mut limits = engine::LogLimits::default();
    let Some(driver) = driver else { return Ok(limits) };
    if let Some(value) = driver.options.get("max-size") {
        let bytes = size::parse_ram(value).ok().and_then(|b| u64::try_from(b).ok());
        limits.max_size = bytes.filter(|b| *b > 0).ok_or_else(|| SpecError::Invalid {
            what: "log option max-size",
            value: value.clone(),
        })?;
    }
    if let Some(value) = driver.options.get("max-file") {
        limits.max_files = value.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
            SpecError::Invalid { what: "log option max-file", value: value.clone() }
        })?;
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_api::{SecretReference, TaskSpec};

    fn task(spec: ContainerSpec) -> Task {
        Task {
            id: "t1".into(),
            slot: 1,
            spec: Some(TaskSpec { container: Some(spec), ..TaskSpec::default() }),
            ..Task::default()
        }
    }

    #[test]
    fn a_secret_is_mounted_under_run_secrets_unless_its_target_is_absolute() {
        let set = Assignments {
            secrets: [("s1".to_owned(), Zeroizing::new(b"x".to_vec()))].into(),
            ..Assignments::default()
        };
        let reference = |target: &str| SecretReference {
            secret_id: "s1".into(),
            secret_name: "db".into(),
            file: Some(FileTarget { name: target.into(), mode: 0o400, ..Default::default() }),
        };
        let spec = ContainerSpec {
            secrets: vec![reference(""), reference("/etc/key")],
            ..Default::default()
        };
        let made = container(&task(spec), &set, &Context::default()).unwrap();
        let targets: Vec<_> = made.files.iter().map(|f| f.target.display().to_string()).collect();
        assert_eq!(targets, ["/run/secrets/db", "/etc/key"]);
    }

    #[test]
    fn on_the_hosts_network_names_are_asked_as_the_host_asks_them() {
        let mut task = task(ContainerSpec::default());
        let host =
            swarm_api::NetworkAttachmentConfig { target: "host".into(), ..Default::default() };
        task.spec.as_mut().unwrap().networks.push(host);
        let made = container(&task, &Assignments::default(), &Context::default()).unwrap();
        assert_eq!(made.resolv_conf, None);
    }

    #[test]
    fn a_secret_that_did_not_come_is_named() {
        let reference = SecretReference { secret_name: "db".into(), ..Default::default() };
        let spec = ContainerSpec { secrets: vec![reference], ..Default::default() };
        let made = container(&task(spec), &Assignments::default(), &Context::default());
        assert_eq!(made.unwrap_err().to_string(), "secret db is not available on this node");
    }

    #[test]
    fn placeholders_are_filled_in_and_swarm_labels_win() {
        let spec = ContainerSpec {
            env: vec!["SLOT={{.Task.Slot}}".into()],
            labels: [("com.docker.swarm.task.id".to_owned(), "mine".to_owned())].into(),
            ..Default::default()
        };
        let context = Context { task_slot: "1".into(), ..Context::default() };
        let made = container(&task(spec), &Assignments::default(), &context).unwrap();
        assert_eq!(made.env, ["SLOT=1"]);
        assert_eq!(made.labels["com.docker.swarm.task.id"], "t1");
        assert_eq!(made.resolv_conf.unwrap(), "nameserver 127.0.0.11\noptions ndots:0\n");
    }
}
