//! Joins a specification with its image by Docker's rules, as far as that needs neither disk nor
//! kernel: command, environment, health check, signals, limits. Pure.

use std::time::Duration;

use crate::image::ImageConfig;
use crate::profile;
use crate::spec::{ContainerSpec, Healthcheck, MountKind, Propagation};
use crate::ulimit;

/// Search path of images that name none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command line: entrypoint, then command. An entrypoint of the caller's discards the image's
/// command.
pub fn args(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, String> {
    let entrypoint = spec.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let cmd = if !spec.cmd.is_empty() {
        &spec.cmd[..]
    } else if spec.entrypoint.is_none() {
        &image.cmd
    } else {
        &Vec::new()
    };
    let args: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if args.is_empty() { Err("no command specified".to_owned()) } else { Ok(args) }
}

/// The environment: the image's under the caller's, a bare name removes.
pub fn env(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    for entry in image.env.iter().chain(&spec.env) {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |known: &String| known.split('=').next() == Some(name);
        match (entry.contains('='), env.iter().position(same)) {
            (true, Some(index)) => env[index] = entry.clone(),
            (true, None) => env.push(entry.clone()),
            (false, Some(index)) => drop(env.remove(index)),
            (false, None) => {}
        }
    }
    env
}

/// The health check in force; None when there is none or it is switched off.
pub fn healthcheck(spec: &ContainerSpec, image: &ImageConfig) -> Option<Healthcheck> {
    let inherited = image.healthcheck.as_ref().map(Healthcheck::from);
    let mut check = match (&spec.healthcheck, inherited) {
        (Some(own), None) => own.clone(),
        (Some(own), Some(base)) => over(own, base),
        (None, Some(base)) => base,
        (None, None) => return None,
    };
    check.test.retain(|word| !word.is_empty());
    let off = check.test.is_empty() || check.test[0] == "NONE";
    (!off).then_some(check)
}

fn over(own: &Healthcheck, base: Healthcheck) -> Healthcheck {
    let set = |time: Option<Duration>| time.filter(|time| !time.is_zero());
    Healthcheck {
        test: if own.test.is_empty() { base.test } else { own.test.clone() },
        interval: set(own.interval).or(base.interval),
        timeout: set(own.timeout).or(base.timeout),
        start_period: set(own.start_period).or(base.start_period),
        start_interval: set(own.start_interval).or(base.start_interval),
        retries: own.retries.filter(|n| *n > 0).or(base.retries),
    }
}

/// A signal by number or name, with or without `SIG`.
pub fn signal(text: &str) -> Result<i32, String> {
    let unknown = || format!("unknown signal {text:?}");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset: i32 = offset.trim_start_matches('+').parse().unwrap_or(0);
        return Ok(libc::SIGRTMIN() + offset);
    }
    let signal: Result<nix::sys::signal::Signal, _> = format!("SIG{name}").parse();
    signal.map(|signal| signal as i32).map_err(|_| unknown())
}

/// Says what of a specification this engine refuses.
pub fn check(spec: &ContainerSpec) -> Result<(), String> {
    if spec.privileged {
        return Err("privileged containers are not built".to_owned());
    }
    if spec.tty {
        return Err("terminals are not built".to_owned());
    }
    for limit in &spec.ulimits {
        if ulimit::resource(&limit.name).is_none() {
            return Err(format!("unknown ulimit {:?}", limit.name));
        }
    }
    for mount in &spec.mounts {
        let target = mount.target.display();
        if !mount.target.is_absolute() {
            return Err(format!("mount target {target} must be an absolute path"));
        }
        if let MountKind::Bind { propagation, .. } = &mount.kind
            && matches!(propagation, Propagation::Rshared | Propagation::Shared)
        {
            let mode = propagation.option();
            return Err(format!("bind propagation {mode} of {target} is not built"));
        }
    }
    for file in &spec.files {
        if !file.target.is_absolute() {
            let target = file.target.display();
            return Err(format!("file target {target} must be an absolute path"));
        }
    }
    const LEAST: u64 = 4 << 20;
    match spec.resources.memory {
        Some(memory) if memory < LEAST => {
            Err(format!("memory limit {memory} is below the least allowed, {LEAST} bytes"))
        }
        _ => Ok(()),
    }
}

/// The capabilities to keep. Where nothing limits the use of devices (version 1 without the device
/// controller), device nodes are only made by those who ask for it.
pub fn capabilities(spec: &ContainerSpec, devices_limited: bool) -> Result<Vec<String>, String> {
    let mut kept = profile::capabilities(&spec.cap_add, &spec.cap_drop)?;
    let asked = |name: &String| {
        matches!(name.to_ascii_uppercase().as_str(), "MKNOD" | "CAP_MKNOD" | "ALL" | "CAP_ALL")
    };
    if !devices_limited && !spec.cap_add.iter().any(asked) {
        kept.retain(|name| name != "CAP_MKNOD");
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".to_owned()],
            cmd: vec!["serve".to_owned()],
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            ..ImageConfig::default()
        }
    }

    #[test]
    fn a_caller_s_entrypoint_discards_the_image_s_command() {
        let mut spec = ContainerSpec::default();
        assert_eq!(args(&spec, &image()).unwrap(), ["/entry", "serve"]);
        spec.cmd = vec!["check".to_owned()];
        assert_eq!(args(&spec, &image()).unwrap(), ["/entry", "check"]);
        spec.cmd.clear();
        spec.entrypoint = Some(vec!["sh".to_owned()]);
        assert_eq!(args(&spec, &image()).unwrap(), ["sh"]);
        spec.entrypoint = Some(Vec::new());
        assert_eq!(args(&spec, &image()).unwrap_err(), "no command specified");
    }

    #[test]
    fn variables_are_replaced_added_and_removed() {
        let env_of = ["A=9", "B", "C=3"].map(str::to_owned).to_vec();
        let spec = ContainerSpec { env: env_of, ..ContainerSpec::default() };
        let env = env(&spec, &image(), "h");
        assert_eq!(env[1..], ["HOSTNAME=h", "A=9", "C=3"]);
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal("SIGTERM"), Ok(15));
        assert_eq!(signal("kill"), Ok(9));
        assert_eq!(signal("2"), Ok(2));
        assert_eq!(signal("SIGFOO").unwrap_err(), "unknown signal \"SIGFOO\"");
    }

    #[test]
    fn what_is_not_built_is_refused() {
        let spec = ContainerSpec { privileged: true, ..ContainerSpec::default() };
        assert_eq!(check(&spec).unwrap_err(), "privileged containers are not built");
        let spec = ContainerSpec { tty: true, ..ContainerSpec::default() };
        assert!(check(&spec).is_err());
    }

    #[test]
    fn a_switched_off_health_check_is_none() {
        let test = vec!["NONE".to_owned()];
        let own = Healthcheck { test, ..Healthcheck::default() };
        let spec = ContainerSpec { healthcheck: Some(own), ..ContainerSpec::default() };
        assert_eq!(healthcheck(&spec, &image()), None);
    }
}
