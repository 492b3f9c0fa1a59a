//! The container's part of a service's spec.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use swarm_api::image::ImageRef;
use swarm_api::mount::Type;
use swarm_api::template::{self, Context};
use swarm_api::time::{to_proto, to_std};
use swarm_api::*;

use super::{invalid, not_negative};
use crate::refusal::Refusal;

const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);
/// A shorter probe interval would be all probing.
const MIN_PROBE: Duration = Duration::from_millis(1);
/// World-readable, as the incumbent mounts secrets and configs.
const FILE_MODE: u32 = 0o444;

pub fn check(container: &mut ContainerSpec) -> Result<(), Refusal> {
    container.stop_grace_period.get_or_insert_with(|| to_proto(STOP_GRACE_PERIOD));
    ImageRef::parse(&container.image).map_err(invalid)?;
    not_negative(container.stop_grace_period.as_ref(), "stop grace period")?;
    refuse_unbuilt(container)?;
    check_templates(container)?;
    check_env(&container.env)?;
    check_mounts(&container.mounts)?;
    check_files(container)?;
    check_names(container)?;
    check_health(container.healthcheck.as_ref())?;
    if !(-1000..=1000).contains(&container.oom_score_adj) {
        let text = format!("oom score {} must be from -1000 to 1000", container.oom_score_adj);
        return Err(Refusal::Invalid(text));
    }
    check_kernel_names(container)
}

/// Nobody can attach to a container.
fn refuse_unbuilt(container: &ContainerSpec) -> Result<(), Refusal> {
    for (asked, what) in [(container.tty, "a terminal (tty)"), (container.open_stdin, "open stdin")]
    {
        if asked {
            return Err(Refusal::NotBuilt(format!("{what} is not built yet")));
        }
    }
    Ok(())
}

fn check_templates(container: &ContainerSpec) -> Result<(), Refusal> {
    let none = Context::default();
    let mounts = container.mounts.iter().flat_map(|m| [&m.source, &m.target]);
    for text in mounts.chain([&container.hostname]) {
        template::expand(text, &none).map_err(invalid)?;
    }
    let mut env = container.env.iter();
    env.try_for_each(|entry| template::expand_env(entry, &none).map(drop)).map_err(invalid)
}

/// Signals, capabilities and limits, as nodes know them.
fn check_kernel_names(container: &ContainerSpec) -> Result<(), Refusal> {
    let signal = &container.stop_signal;
    if !signal.is_empty() && !kernel::is_signal(signal) {
        return Err(Refusal::Invalid(format!("unknown stop signal {signal:?}")));
    }
    let mut capabilities = container.cap_add.iter().chain(&container.cap_drop);
    if let Some(unknown) = capabilities.find(|name| !kernel::is_capability(name)) {
        return Err(Refusal::Invalid(format!("unknown capability {unknown:?}")));
    }
    for u in &container.ulimits {
        if !kernel::is_ulimit(&u.name) {
            return Err(Refusal::Invalid(format!("unknown ulimit {:?}", u.name)));
        }
        if u.soft > u.hard && u.hard >= 0 {
            return Err(Refusal::Invalid(format!(
                "ulimit {}: soft limit {} is above hard limit {}",
                u.name, u.soft, u.hard
            )));
        }
    }
    Ok(())
}

fn check_env(env: &[String]) -> Result<(), Refusal> {
    match env.iter().find(|e| e.is_empty() || e.starts_with('=') || e.contains('\0')) {
        None => Ok(()),
        Some(bad) => {
            let text = format!("invalid environment variable {bad:?}: want NAME=VALUE");
            Err(Refusal::Invalid(text))
        }
    }
}

fn check_mounts(mounts: &[Mount]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for mount in mounts {
        let target = mount.target.as_str();
        if !target.starts_with('/') || target == "/" {
            return Err(Refusal::Invalid(format!(
                "invalid mount target {target:?}: must be an absolute path other than /"
            )));
        }
        if !seen.insert(target.trim_end_matches('/')) {
            let text = format!("ContainerSpec: duplicate mount point: {target}");
            return Err(Refusal::Invalid(text));
        }
        check_source(mount)?;
        check_driver(mount)?;
        check_propagation(mount)?;
    }
    Ok(())
}

fn check_driver(mount: &Mount) -> Result<(), Refusal> {
    let (name, driver) = (&mount.source, &mount.volume_driver);
    if !matches!(driver.as_str(), "" | "local") {
        return Err(Refusal::NotBuilt(format!(
            "volume {name}: driver {driver} is not built yet, only local is"
        )));
    }
    match mount.volume_driver_opts.first_key_value() {
        None => Ok(()),
        Some((key, value)) => Err(Refusal::NotBuilt(format!(
            "volume {name}: driver option {key}={value} is not built yet, volumes have none"
        ))),
    }
}

fn check_propagation(mount: &Mount) -> Result<(), Refusal> {
    match mount.bind_propagation.as_str() {
        "" | "private" | "rprivate" | "slave" | "rslave" => Ok(()),
        mode @ ("shared" | "rshared") => Err(Refusal::NotBuilt(format!(
            "bind propagation {mode} of {} is not built yet",
            mount.target
        ))),
        other => Err(Refusal::Invalid(format!(
            "invalid bind propagation {other:?} of {}: want [r]private or [r]slave",
            mount.target
        ))),
    }
}

fn check_source(mount: &Mount) -> Result<(), Refusal> {
    let source = mount.source.as_str();
    match mount.r#type() {
        Type::Bind if !source.starts_with('/') => Err(Refusal::Invalid(format!(
            "invalid bind mount source {source:?}: must be an absolute path"
        ))),
        Type::Tmpfs if !source.is_empty() => {
            let text = format!("invalid tmpfs source {source:?}: must be empty");
            Err(Refusal::Invalid(text))
        }
        // An empty name makes an anonymous volume; a template is filled in on the node.
        Type::Volume if !source.is_empty() && !source.contains("{{") => {
            name::local(source).map_err(invalid)
        }
        _ => Ok(()),
    }
}

/// Where secrets and configs go; two cannot go to one place.
fn check_files(container: &mut ContainerSpec) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for secret in &mut container.secrets {
        let file = filled(&mut secret.file, &secret.secret_name);
        let file = with_ids(file, "secret", &secret.secret_name)?;
        let path = match file.starts_with('/') {
            true => file.to_owned(),
            false => format!("/run/secrets/{file}"),
        };
        claim(&mut seen, path, "secret", &secret.secret_name)?;
    }
    for config in &mut container.configs {
        let file = filled(&mut config.file, &format!("/{}", config.config_name));
        let file = with_ids(file, "config", &config.config_name)?;
        let path = format!("/{}", file.trim_start_matches('/'));
        claim(&mut seen, path, "config", &config.config_name)?;
    }
    Ok(())
}

fn filled<'a>(file: &'a mut Option<FileTarget>, name: &str) -> &'a FileTarget {
    let id = || "0".to_owned();
    let file = file.get_or_insert_with(|| FileTarget { mode: FILE_MODE, ..FileTarget::default() });
    if file.name.is_empty() {
        name.clone_into(&mut file.name);
    }
    if file.uid.is_empty() {
        file.uid = id();
    }
    if file.gid.is_empty() {
        file.gid = id();
    }
    file
}

/// Its path, if its owner can be one: names of users are only known within the image.
fn with_ids<'a>(file: &'a FileTarget, kind: &str, name: &str) -> Result<&'a str, Refusal> {
    match [&file.uid, &file.gid].into_iter().find(|id| id.parse::<u32>().is_err()) {
        None => Ok(&file.name),
        Some(bad) => Err(Refusal::Invalid(format!(
            "{kind} {name}: invalid owner {bad:?} of its file: want a number"
        ))),
    }
}

fn claim(seen: &mut BTreeSet<String>, path: String, kind: &str, name: &str) -> Result<(), Refusal> {
    if path.ends_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Refusal::Invalid(format!("{kind} {name}: target {path:?} is no file path")));
    }
    if seen.contains(&path) {
        let text = format!("duplicate {kind} target for {name} not allowed: {path} is taken");
        return Err(Refusal::Invalid(text));
    }
    seen.insert(path);
    Ok(())
}

/// Lines of /etc/hosts, name servers and user-set kernel parameters.
fn check_names(container: &ContainerSpec) -> Result<(), Refusal> {
    let is_host_line = |line: &String| {
        let (ip, names) = line.split_once(' ').unwrap_or_default();
        let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        ip.parse::<IpAddr>().is_ok() && names.split(' ').all(is_name)
    };
    if let Some(bad) = container.hosts.iter().find(|line| !is_host_line(line)) {
        return Err(Refusal::Invalid(format!("invalid host entry {bad:?}: want \"IP NAME\"")));
    }
    let servers = container.dns.iter().flat_map(|d| &d.nameservers);
    if let Some(bad) = servers.into_iter().find(|s| s.parse::<IpAddr>().is_err()) {
        return Err(Refusal::Invalid(format!("invalid dns server {bad:?}: want an IP address")));
    }
    if let Some(bad) = container.sysctls.keys().find(|k| !k.contains('.')) {
        return Err(Refusal::Invalid(format!("invalid sysctl {bad:?}: want a name such as a.b.c")));
    }
    Ok(())
}

fn check_health(health: Option<&HealthConfig>) -> Result<(), Refusal> {
    let Some(health) = health else { return Ok(()) };
    match health.test.first().map(String::as_str) {
        None | Some("NONE" | "CMD" | "CMD-SHELL") => {}
        Some(other) => {
            return Err(Refusal::Invalid(format!(
                "invalid healthcheck test {other:?}: must begin with NONE, CMD or CMD-SHELL"
            )));
        }
    }
    let periods = [
        (&health.interval, "interval"),
        (&health.timeout, "timeout"),
        (&health.start_period, "start period"),
        (&health.start_interval, "start interval"),
    ];
    for (period, what) in periods {
        not_negative(period.as_ref(), &format!("healthcheck {what}"))?;
        let period = period.as_ref().map(to_std);
        if period.is_some_and(|p| !p.is_zero() && p < MIN_PROBE) {
            let text = format!("healthcheck {what} must be at least 1ms");
            return Err(Refusal::Invalid(text));
        }
    }
    Ok(())
}
