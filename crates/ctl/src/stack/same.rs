//! Whether a service in the cluster already is what a file says: compares the stored spec with the
//! file's, after giving the latter what the manager's door gives every spec (ids for names,
//! defaults for what is left open).
//!
//! If the two ever differ in a default, a deploy writes a spec that changes no task; it never
//! misses a change.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_api::time::to_proto;
use swarm_api::{FileTarget, ReplicatedMode, ServiceSpec, UpdateConfig, service_spec};

const RESTART_DELAY: Duration = Duration::from_secs(5);
const MONITOR: Duration = Duration::from_secs(5);
const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);
const FILE_MODE: u32 = 0o444;

/// Ids by name.
#[derive(Debug, Default)]
pub struct Ids {
    /// Of networks.
    pub networks: BTreeMap<String, String>,
    /// Of secrets.
    pub secrets: BTreeMap<String, String>,
    /// Of configs.
    pub configs: BTreeMap<String, String>,
}

/// Whether storing `wanted` would change nothing.
pub fn is_same(stored: &ServiceSpec, wanted: &ServiceSpec, ids: &Ids) -> bool {
    *stored == filled(wanted.clone(), ids)
}

fn filled(mut spec: ServiceSpec, ids: &Ids) -> ServiceSpec {
    let one = ReplicatedMode { replicas: 1 };
    spec.mode.get_or_insert(service_spec::Mode::Replicated(one));
    spec.endpoint.get_or_insert_default();
    for config in [&mut spec.update, &mut spec.rollback] {
        let config = config
            .get_or_insert_with(|| UpdateConfig { parallelism: 1, ..UpdateConfig::default() });
        config.monitor.get_or_insert_with(|| to_proto(MONITOR));
        config.delay.get_or_insert_default();
    }
    let Some(task) = &mut spec.task else { return spec };
    let restart = task.restart.get_or_insert_default();
    restart.delay.get_or_insert_with(|| to_proto(RESTART_DELAY));
    restart.window.get_or_insert_default();
    let id = |map: &BTreeMap<String, String>, name: &str| {
        map.get(name).cloned().unwrap_or_else(|| name.to_owned())
    };
    for network in &mut task.networks {
        network.target = id(&ids.networks, &network.target);
    }
    let Some(container) = &mut task.container else { return spec };
    container.stop_grace_period.get_or_insert_with(|| to_proto(STOP_GRACE_PERIOD));
    for secret in &mut container.secrets {
        secret.secret_id = id(&ids.secrets, &secret.secret_name);
        fill_file(&mut secret.file, &secret.secret_name);
    }
    for config in &mut container.configs {
        config.config_id = id(&ids.configs, &config.config_name);
        fill_file(&mut config.file, &format!("/{}", config.config_name));
    }
    spec
}

fn fill_file(file: &mut Option<FileTarget>, name: &str) {
    let file = file.get_or_insert_with(|| FileTarget { mode: FILE_MODE, ..FileTarget::default() });
    for (field, default) in [(&mut file.name, name), (&mut file.uid, "0"), (&mut file.gid, "0")] {
        if field.is_empty() {
            default.clone_into(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use swarm_api::{ContainerSpec, NetworkAttachmentConfig, SecretReference, TaskSpec};

    use super::*;

    fn spec() -> ServiceSpec {
        let container = ContainerSpec {
            image: "web:1".into(),
            secrets: vec![SecretReference { secret_name: "s".into(), ..Default::default() }],
            ..ContainerSpec::default()
        };
        let task = TaskSpec {
            container: Some(container),
            networks: vec![NetworkAttachmentConfig { target: "net".into(), ..Default::default() }],
            ..TaskSpec::default()
        };
        ServiceSpec { task: Some(task), ..ServiceSpec::default() }
    }

    fn ids() -> Ids {
        Ids {
            networks: BTreeMap::from([("net".into(), "n1".into())]),
            secrets: BTreeMap::from([("s".into(), "s1".into())]),
            ..Ids::default()
        }
    }

    #[test]
    fn a_spec_is_the_same_after_its_way_through_the_door() {
        let stored = filled(spec(), &ids());
        assert!(is_same(&stored, &spec(), &ids()));
        let task = stored.task.unwrap();
        assert_eq!(task.networks[0].target, "n1");
        assert_eq!(task.container.unwrap().secrets[0].secret_id, "s1");
    }

    #[test]
    fn a_change_or_a_removed_setting_is_seen() {
        let stored = filled(spec(), &ids());
        let mut other = spec();
        other.task.as_mut().unwrap().container.as_mut().unwrap().env.push("A=1".into());
        assert!(!is_same(&stored, &other, &ids()));
        assert!(!is_same(&filled(other, &ids()), &spec(), &ids()));
    }
}
