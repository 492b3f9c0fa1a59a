//! What a task takes from its node: reservations and host-mode ports. Limits are not looked at.
//! Built from a task's spec by `cluster` (tasks already placed) and `place` (tasks to be placed).

use swarm_api::{PortConfig, PublishMode, ResourceRequirements, Resources, Task, TaskSpec};

/// Reservations and host-mode ports of one task of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    pub(crate) service_id: String,
    pub(crate) nano_cpus: i64,
    pub(crate) memory_bytes: i64,
    /// Kind and count; named values are asked for by count.
    pub(crate) generic: Vec<(String, i64)>,
    /// Protocol and published port; ports that the node chooses are not here.
    pub(crate) host_ports: Vec<(i32, u32)>,
}

impl Demand {
    /// Of a task of `service_id` with this spec, publishing `ports`.
    pub fn new(service_id: &str, spec: &TaskSpec, ports: &[PortConfig]) -> Demand {
        let reserved = spec.resources.as_ref().and_then(reservations);
        let host = |p: &&PortConfig| p.mode() == PublishMode::Host && p.published != 0;
        Demand {
            service_id: service_id.to_owned(),
            nano_cpus: reserved.map_or(0, |r| r.nano_cpus),
            memory_bytes: reserved.map_or(0, |r| r.memory_bytes),
            generic: reserved.map(generic_counts).unwrap_or_default(),
            host_ports: ports.iter().filter(host).map(|p| (p.protocol, p.published)).collect(),
        }
    }

    /// Of a stored task.
    pub fn of(task: &Task) -> Demand {
        let ports = task.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
        match &task.spec {
            Some(spec) => Demand::new(&task.service_id, spec, ports),
            None => Demand { service_id: task.service_id.clone(), ..Demand::default() },
        }
    }
}

fn reservations(requirements: &ResourceRequirements) -> Option<&Resources> {
    requirements.reservations.as_ref()
}

/// Count per kind, whether discrete or named.
pub(crate) fn generic_counts(resources: &Resources) -> Vec<(String, i64)> {
    let count =
        |names: usize, discrete: i64| i64::try_from(names).unwrap_or(i64::MAX).max(discrete);
    resources.generic.iter().map(|g| (g.kind.clone(), count(g.names.len(), g.count))).collect()
}
