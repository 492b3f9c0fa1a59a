//! A node as JSON.

use serde_json::{Value, json};
use swarm_api::{
    ManagerStatus, Node, NodeAvailability, NodeDescription, NodeRole, NodeState, Reachability,
};

use super::{Doc, head, list, map};

/// `active`, `pause` or `drain`.
pub fn availability(availability: NodeAvailability) -> &'static str {
    match availability {
        NodeAvailability::Active => "active",
        NodeAvailability::Pause => "pause",
        NodeAvailability::Drain => "drain",
    }
}

/// `unknown`, `down`, `ready` or `disconnected`.
pub fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::NodeUnknown => "unknown",
        NodeState::NodeDown => "down",
        NodeState::NodeReady => "ready",
        NodeState::NodeDisconnected => "disconnected",
    }
}

/// `worker` or `manager`.
pub fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

/// `unknown`, `unreachable` or `reachable`.
pub fn reachability(reachability: Reachability) -> &'static str {
    match reachability {
        Reachability::Unknown => "unknown",
        Reachability::Unreachable => "unreachable",
        Reachability::Reachable => "reachable",
    }
}

/// `node inspect`.
pub fn node(node: &Node) -> Value {
    let spec = node.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.clone().unwrap_or_default();
    let spec = Doc::default()
        .opt("Name", annotations.name)
        .set("Labels", map(&annotations.labels))
        .set("Role", role(spec.desired_role()))
        .set("Availability", availability(spec.availability()))
        .build();
    let status = node.status.clone().unwrap_or_default();
    let status = Doc::default()
        .set("State", state(status.state()))
        .opt("Message", status.message)
        .set("Addr", status.addr)
        .build();
    head(&node.id, node.meta.as_ref())
        .set("Spec", spec)
        .set("Description", description(node.description.as_ref()))
        .set("Status", status)
        .opt("ManagerStatus", node.manager_status.as_ref().map(manager))
        .build()
}

fn manager(status: &ManagerStatus) -> Value {
    Doc::default()
        .opt("Leader", status.leader)
        .set("Reachability", reachability(status.reachability()))
        .set("Addr", status.addr.as_str())
        .build()
}

fn description(description: Option<&NodeDescription>) -> Value {
    let Some(d) = description else { return json!({}) };
    let platform = d.platform.clone().unwrap_or_default();
    let resources = d.resources.clone().unwrap_or_default();
    let engine = d.engine.clone().unwrap_or_default();
    Doc::default()
        .set("Hostname", d.hostname.as_str())
        .set("Platform", json!({"Architecture": platform.architecture, "OS": platform.os}))
        .set(
            "Resources",
            Doc::default()
                .set("NanoCPUs", resources.nano_cpus)
                .set("MemoryBytes", resources.memory_bytes)
                .opt("GenericResources", list(&resources.generic, super::spec::generic))
                .build(),
        )
        .set("Engine", json!({"EngineVersion": engine.version, "Labels": map(&engine.labels)}))
        .build()
}
