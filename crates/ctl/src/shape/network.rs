//! A network as JSON.

use serde_json::{Value, json};
use swarm_api::Network;

use super::{Doc, map};
use crate::age::rfc3339;

/// `network inspect`.
pub fn network(network: &Network) -> Value {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let allocated = Doc::default()
        .opt("Subnet", network.subnet.as_str())
        .opt("Gateway", network.gateway.as_str())
        .build();
    let created = network.meta.as_ref().and_then(|m| m.created_at.as_ref());
    Doc::default()
        .set("Name", annotations.name)
        .set("Id", network.id.as_str())
        .set("Created", rfc3339(created))
        .set("Scope", "swarm")
        .set("Driver", spec.driver)
        .set("EnableIPv4", true)
        .set("EnableIPv6", spec.ipv6)
        .set("IPAM", json!({"Driver": "default", "Config": [allocated]}))
        .set("Internal", spec.internal)
        .set("Attachable", spec.attachable)
        .set("Ingress", spec.ingress)
        // No network's traffic is encrypted yet, whatever was asked for.
        .set("Encrypted", false)
        .set("VNI", network.vni)
        .set("Options", map(&spec.driver_opts))
        .set("Labels", map(&annotations.labels))
        .build()
}
