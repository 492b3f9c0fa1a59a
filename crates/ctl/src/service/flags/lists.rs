//! Values of the flags that can be repeated, and how they are added to and removed from a spec.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use swarm_api::{
    ConfigReference, FileTarget, NetworkAttachmentConfig, PlacementPreference, PortConfig,
    SecretReference, Ulimit,
};

/// World-readable, as the incumbent has it.
const FILE_MODE: u32 = 0o444;

/// `KEY=VALUE`; a key alone takes its value from `own`, the caller's environment, or is left out.
pub fn environment(flags: &[String], own: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for flag in flags {
        match flag.split_once('=') {
            Some(("", _)) => bail!("invalid environment variable: {flag}"),
            Some(_) => all.push(flag.clone()),
            None if flag.is_empty() => bail!("invalid environment variable: it has no name"),
            None => all.extend(own(flag).map(|value| format!("{flag}={value}"))),
        }
    }
    Ok(all)
}

/// Lines of an `--env-file`: variables, blank lines and comments.
pub fn environment_file(path: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let variables: Vec<String> = lines.map(str::to_owned).collect();
    for line in &variables {
        let name = line.split('=').next().unwrap_or_default();
        if name.contains(char::is_whitespace) || name.is_empty() {
            bail!("{path}: invalid environment variable \"{line}\"");
        }
    }
    environment(&variables, |name| std::env::var(name).ok())
}

fn variable(entry: &str) -> &str {
    entry.split('=').next().unwrap_or(entry)
}

/// Adds variables; one that exists is replaced where it stands.
pub fn add_environment(env: &mut Vec<String>, added: Vec<String>) {
    for new in added {
        match env.iter_mut().find(|old| variable(old) == variable(&new)) {
            Some(old) => *old = new,
            None => env.push(new),
        }
    }
}

/// Removes variables by name.
pub fn remove_environment(env: &mut Vec<String>, removed: &[String]) {
    env.retain(|entry| !removed.iter().any(|name| name == variable(entry)));
}

/// Adds values that are not there yet and removes others.
pub fn change<T: PartialEq + Clone>(list: &mut Vec<T>, added: &[T], removed: &[T]) {
    list.retain(|item| !removed.contains(item));
    for item in added {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// Adds `KEY=VALUE`s to a map and removes keys from it.
pub fn change_map(
    map: &mut BTreeMap<String, String>,
    added: &[String],
    removed: &[String],
) -> Result<()> {
    map.retain(|key, _| !removed.contains(key));
    map.extend(crate::labels::parse(added)?);
    Ok(())
}

/// `host:ip` as the line `ip host`.
pub fn host(flag: &str) -> Result<String> {
    match flag.split_once(':') {
        Some((host, ip)) if !host.is_empty() && ip.parse::<std::net::IpAddr>().is_ok() => {
            Ok(format!("{ip} {host}"))
        }
        _ => bail!("invalid host \"{flag}\": use NAME:IP"),
    }
}

/// Removes lines of a host (`host`) or of one of its addresses (`host:ip`).
pub fn remove_hosts(hosts: &mut Vec<String>, removed: &[String]) {
    hosts.retain(|line| {
        let (ip, name) = line.split_once(' ').unwrap_or(("", line));
        !removed.iter().any(|flag| match flag.split_once(':') {
            Some((host, addr)) => host == name && addr == ip,
            None => flag == name,
        })
    });
}

/// `name=soft[:hard]`
pub fn ulimit(flag: &str) -> Result<Ulimit> {
    let parsed = flag.split_once('=').and_then(|(name, limits)| {
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (soft.parse().ok()?, hard.parse().ok()?);
        Some(Ulimit { name: name.to_owned(), soft, hard })
    });
    match parsed {
        Some(u) if u.hard != -1 && u.soft > u.hard => {
            bail!("ulimit soft limit must be less than or equal to hard limit: {flag}")
        }
        Some(u) if !u.name.is_empty() => Ok(u),
        _ => bail!("invalid ulimit \"{flag}\": use NAME=SOFT[:HARD]"),
    }
}

/// Adds limits; one of the same name is replaced.
pub fn change_ulimits(list: &mut Vec<Ulimit>, added: Vec<Ulimit>, removed: &[String]) {
    list.retain(|u| !removed.contains(&u.name) && !added.iter().any(|new| new.name == u.name));
    list.extend(added);
    list.sort_by(|a, b| a.name.cmp(&b.name));
}

/// `spread=node.labels.X`
pub fn preference(flag: &str) -> Result<PlacementPreference> {
    match flag.split_once('=') {
        Some(("spread", label)) if !label.is_empty() => {
            Ok(PlacementPreference { spread: label.to_owned() })
        }
        Some((other, _)) if other != "spread" => {
            bail!("unsupported placement preference {other} (only spread is supported)")
        }
        _ => bail!("invalid placement preference \"{flag}\": use spread=node.labels.KEY"),
    }
}

/// All ports of `--publish` flags.
pub fn ports(flags: &[String]) -> Result<Vec<PortConfig>> {
    let mut all = Vec::new();
    for flag in flags {
        all.extend(swarm_api::port::parse(flag)?);
    }
    Ok(all)
}

/// Removes ports by target port and protocol (`80` or `53/udp`), adds others.
pub fn change_ports(
    list: &mut Vec<PortConfig>,
    added: &[String],
    removed: &[String],
) -> Result<()> {
    let removed = ports(removed)?;
    list.retain(|p| !removed.iter().any(|r| r.target == p.target && r.protocol == p.protocol));
    change(list, &ports(added)?, &[]);
    Ok(())
}

/// `NAME` or `name=…,alias=…`. What the incumbent takes and ignores is refused.
pub fn network(flag: &str) -> Result<NetworkAttachmentConfig> {
    let mut network = NetworkAttachmentConfig::default();
    if !flag.contains('=') {
        network.target = flag.to_owned();
    } else {
        for field in flag.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key.trim().to_lowercase().as_str() {
                "name" => network.target = value.to_owned(),
                "alias" => network.aliases.push(value.to_owned()),
                "driver-opt" => bail!("--network driver-opt= is not supported yet"),
                "ip" | "ip6" | "mac-address" | "link-local-ip" => {
                    bail!("--network {key}= is not supported: tasks have no fixed addresses")
                }
                _ => bail!("invalid field \"{key}\" in --network {flag}"),
            }
        }
    }
    match network.target.is_empty() {
        true => bail!("--network {flag}: the network's name is missing"),
        false => Ok(network),
    }
}

/// A file made from a secret or config: whose, and where it appears.
struct Reference {
    source: String,
    file: FileTarget,
}

/// `NAME` or `source=,target=,uid=,gid=,mode=`.
fn reference(kind: &str, flag: &str) -> Result<Reference> {
    let mut source = String::new();
    let mut file = FileTarget { mode: FILE_MODE, ..FileTarget::default() };
    if !flag.contains('=') {
        source = flag.to_owned();
    } else {
        for field in flag.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key.trim().to_lowercase().as_str() {
                "source" | "src" => source = value.to_owned(),
                "target" => file.name = value.to_owned(),
                "uid" => file.uid = value.to_owned(),
                "gid" => file.gid = value.to_owned(),
                "mode" => file.mode = mode(value)?,
                _ => bail!("invalid field \"{key}\" in --{kind} {flag}"),
            }
        }
    }
    if source.is_empty() {
        bail!("--{kind} {flag}: source is required");
    }
    if file.name.is_empty() {
        // A secret's lies in /run/secrets, a config's in the root.
        file.name = if kind == "config" { format!("/{source}") } else { source.clone() };
    }
    for id in [&mut file.uid, &mut file.gid] {
        if id.is_empty() {
            "0".clone_into(id);
        }
    }
    Ok(Reference { source, file })
}

/// A file mode: octal with a leading 0, else decimal.
fn mode(text: &str) -> Result<u32> {
    let parsed = match text.strip_prefix("0o").or_else(|| text.strip_prefix('0')) {
        Some("") => Ok(0),
        Some(octal) => u32::from_str_radix(octal, 8),
        None => text.parse(),
    };
    parsed.ok().with_context(|| format!("invalid mode \"{text}\": use octal, such as 0440"))
}

/// A value of `--secret`.
pub fn secret(flag: &str) -> Result<SecretReference> {
    let Reference { source, file } = reference("secret", flag)?;
    Ok(SecretReference { secret_name: source, file: Some(file), ..SecretReference::default() })
}

/// A value of `--config`.
pub fn config(flag: &str) -> Result<ConfigReference> {
    let Reference { source, file } = reference("config", flag)?;
    Ok(ConfigReference { config_name: source, file: Some(file), ..ConfigReference::default() })
}

/// Refuses two files at one place.
pub fn unique_targets<'a>(
    kind: &str,
    targets: impl Iterator<Item = (&'a str, Option<&'a FileTarget>)>,
) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for (source, file) in targets {
        if !seen.insert(file.map_or("", |f| f.name.as_str())) {
            bail!("duplicate {kind} target for {source} not allowed");
        }
    }
    Ok(())
}

/// Every flag parsed by `parse`.
pub fn each<T>(flags: &[String], parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    flags.iter().map(|flag| parse(flag)).collect()
}
