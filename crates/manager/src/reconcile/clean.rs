//! Whether a task is as its service wants tasks to be now. Used by updates, restarts and the enforcer.

use swarm_api::constraint::Constraint;
use swarm_api::{Node, Placement, PortConfig, PublishMode, Service, Task, TaskSpec};

use super::draft::Draft;
use super::slot::{has_ingress_ports, ingress, is_on_node, template};

/// Nothing about the task would be different if it were made now. Replicas, service labels and update settings are not
/// about the task; new constraints that its node meets change nothing either.
pub(super) fn is_clean(draft: &Draft<'_>, service: &Service, task: &Task) -> bool {
    let Some(now) = template(service) else { return true };
    endpoint_is_clean(draft, service, task)
        && (task.spec_version == service.spec_version
            || task.spec.as_ref().is_some_and(|was| same_spec(draft, was, now, task)))
}

fn same_spec(draft: &Draft<'_>, was: &TaskSpec, now: &TaskSpec, task: &Task) -> bool {
    was == now || {
        let node = draft.node(&task.node_id);
        only_constraints_differ(was, now) && node.is_some_and(|n| meets(n, now))
    }
}

fn only_constraints_differ(was: &TaskSpec, now: &TaskSpec) -> bool {
    let without = |spec: &TaskSpec| {
        let placement = spec.placement.clone().unwrap_or_default();
        let placement = Some(Placement { constraints: Vec::new(), ..placement });
        TaskSpec { placement, ..spec.clone() }
    };
    without(was) == without(now)
}

/// Whether the node satisfies all constraints of the spec; one that cannot be read is met by no node.
pub(super) fn meets(node: &Node, spec: &TaskSpec) -> bool {
    let constraints = spec.placement.as_ref().map_or(&[][..], |p| &p.constraints);
    constraints.iter().all(|text| Constraint::parse(text).is_ok_and(|c| c.matches(node)))
}

/// Host-mode ports are bound by the container, and ingress ports need an address in the ingress network; all other
/// changes of an endpoint happen outside of the task.
fn endpoint_is_clean(draft: &Draft<'_>, service: &Service, task: &Task) -> bool {
    if !is_on_node(task) {
        return true;
    }
    let want =
        service.spec.as_ref().and_then(|s| s.endpoint.as_ref()).map_or(&[][..], |e| &e.ports);
    let has = task.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
    let lacks_ingress = has_ingress_ports(service)
        && ingress(draft).is_some_and(|n| task.networks.iter().all(|a| a.network_id != n.id));
    host_ports(want) == host_ports(has) && !lacks_ingress
}

fn host_ports(ports: &[PortConfig]) -> Vec<(i32, u32, u32, &str)> {
    let host = ports.iter().filter(|p| p.mode() == PublishMode::Host);
    let mut keys: Vec<_> =
        host.map(|p| (p.protocol, p.target, p.published, p.host_ip.as_str())).collect();
    keys.sort_unstable();
    keys
}
