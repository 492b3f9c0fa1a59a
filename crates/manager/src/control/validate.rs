//! A service's spec by itself: defaults filled in, everything that can be judged without looking at the swarm judged.
//!
//! Pure. What needs the store (names, ports of others) is `resolve` and `ports`.

use std::time::Duration;

use swarm_api::constraint::Constraint;
use swarm_api::time::to_proto;
use swarm_api::*;

use crate::refusal::Refusal;

mod container;
mod endpoint;
mod network;
#[cfg(test)]
mod tests;

/// Fills what is left open, as the incumbent does.
const RESTART_DELAY: Duration = Duration::from_secs(5);
const MONITOR: Duration = Duration::from_secs(5);

/// A thousandth of a CPU.
const MIN_NANO_CPUS: i64 = 1_000_000;
/// Less, and nodes make no container.
const MIN_MEMORY: i64 = 4 << 20;
/// More slots than a swarm can run are a slip of the keyboard.
const MAX_REPLICAS: u64 = 1_000_000;

/// The spec with its defaults, if it is sound in itself.
pub fn service(mut spec: ServiceSpec) -> Result<ServiceSpec, Refusal> {
    let name = spec.annotations.as_ref().map_or("", |a| &a.name).to_owned();
    name::service(&name).map_err(invalid)?;
    let about = |refusal: Refusal| match refusal {
        Refusal::Invalid(text) => Refusal::Invalid(format!("service {name}: {text}")),
        other => other,
    };
    fill(&mut spec);
    check(&mut spec).map_err(about)?;
    Ok(spec)
}

pub(super) fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid(error.to_string())
}

fn fill(spec: &mut ServiceSpec) {
    let one = ReplicatedMode { replicas: 1 };
    spec.mode.get_or_insert(service_spec::Mode::Replicated(one));
    spec.endpoint.get_or_insert_default();
    for config in [&mut spec.update, &mut spec.rollback] {
        let config = config
            .get_or_insert_with(|| UpdateConfig { parallelism: 1, ..UpdateConfig::default() });
        config.monitor.get_or_insert_with(|| to_proto(MONITOR));
        config.delay.get_or_insert_default();
    }
    if let Some(task) = &mut spec.task {
        let restart = task.restart.get_or_insert_default();
        restart.delay.get_or_insert_with(|| to_proto(RESTART_DELAY));
        restart.window.get_or_insert_default();
    }
}

fn check(spec: &mut ServiceSpec) -> Result<(), Refusal> {
    if let Some(service_spec::Mode::Replicated(mode)) = &spec.mode
        && mode.replicas > MAX_REPLICAS
    {
        return Err(Refusal::Invalid(format!(
            "{} replicas are more than the {MAX_REPLICAS} allowed",
            mode.replicas
        )));
    }
    for (config, what) in [(&spec.update, "update"), (&spec.rollback, "rollback")] {
        check_update(config.as_ref(), what)?;
    }
    endpoint::check(spec.endpoint.as_ref())?;
    let task = spec.task.as_mut().ok_or_else(|| invalid("the task template is missing"))?;
    check_resources(task.resources.as_ref())?;
    check_placement(task.placement.as_ref())?;
    check_restart(task.restart.as_ref())?;
    check_log_driver(task.log_driver.as_ref())?;
    network::check(&task.networks, spec.endpoint.as_ref())?;
    let container = task.container.as_mut();
    container::check(container.ok_or_else(|| invalid("the container spec is missing"))?)
}

/// Durations of specs are never negative.
pub(super) fn not_negative(
    duration: Option<&prost_types::Duration>,
    what: &str,
) -> Result<(), Refusal> {
    match duration {
        Some(d) if d.seconds < 0 || d.nanos < 0 => {
            Err(Refusal::Invalid(format!("{what} must not be negative")))
        }
        _ => Ok(()),
    }
}

fn check_update(config: Option<&UpdateConfig>, what: &str) -> Result<(), Refusal> {
    let Some(config) = config else { return Ok(()) };
    not_negative(config.delay.as_ref(), &format!("{what} delay"))?;
    not_negative(config.monitor.as_ref(), &format!("{what} monitor"))?;
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        let ratio = config.max_failure_ratio;
        let text = format!("{what} max failure ratio {ratio} must be between 0 and 1");
        return Err(Refusal::Invalid(text));
    }
    if what == "rollback" && config.failure_action() == FailureAction::FailureRollback {
        return Err(invalid("a failed rollback cannot be rolled back: pause or continue"));
    }
    Ok(())
}

fn check_restart(restart: Option<&RestartPolicy>) -> Result<(), Refusal> {
    not_negative(restart.and_then(|r| r.delay.as_ref()), "restart delay")?;
    not_negative(restart.and_then(|r| r.window.as_ref()), "restart window")
}

fn check_resources(resources: Option<&ResourceRequirements>) -> Result<(), Refusal> {
    let Some(resources) = resources else { return Ok(()) };
    for amount in [&resources.limits, &resources.reservations].into_iter().flatten() {
        if amount.nano_cpus != 0 && amount.nano_cpus < MIN_NANO_CPUS {
            return Err(Refusal::Invalid(format!(
                "invalid cpu value {}: must be at least 0.001",
                amount.nano_cpus as f64 / 1e9
            )));
        }
        if amount.memory_bytes != 0 && amount.memory_bytes < MIN_MEMORY {
            return Err(Refusal::Invalid(format!(
                "invalid memory value {}: must be at least 4MiB",
                amount.memory_bytes
            )));
        }
        if amount.pids < 0 {
            let text = format!("invalid pids limit {}: must not be negative", amount.pids);
            return Err(Refusal::Invalid(text));
        }
    }
    Ok(())
}

fn check_placement(placement: Option<&Placement>) -> Result<(), Refusal> {
    let Some(placement) = placement else { return Ok(()) };
    for text in &placement.constraints {
        Constraint::parse(text).map_err(invalid)?;
    }
    for preference in &placement.preferences {
        let spread = &preference.spread;
        let label = ["node.labels.", "engine.labels."]
            .iter()
            .any(|p| spread.len() > p.len() && spread.starts_with(p));
        if !label {
            return Err(Refusal::Invalid(format!(
                "invalid placement preference \"spread={spread}\": want node.labels.NAME or \
                 engine.labels.NAME"
            )));
        }
    }
    Ok(())
}

/// Every log goes to a file on the task's node, from where it can be read; other drivers are not built.
fn check_log_driver(driver: Option<&LogDriver>) -> Result<(), Refusal> {
    let Some(driver) = driver else { return Ok(()) };
    if !matches!(driver.name.as_str(), "" | "json-file" | "local") {
        return Err(Refusal::NotBuilt(format!(
            "log driver {} is not built yet: json-file and local are",
            driver.name
        )));
    }
    for (key, value) in &driver.options {
        let sound = match key.as_str() {
            "max-size" => size::parse_ram(value).is_ok_and(|bytes| bytes > 0),
            "max-file" => value.parse::<u32>().is_ok_and(|files| files > 0),
            _ => {
                return Err(Refusal::NotBuilt(format!(
                    "log option {key} is not built yet: max-size and max-file are"
                )));
            }
        };
        if !sound {
            let text = "want a size such as 10m for max-size, a number from 1 on for max-file";
            return Err(Refusal::Invalid(format!("invalid log option {key}={value}: {text}")));
        }
    }
    Ok(())
}
