//! A service as JSON.

use serde_json::{Value, json};
use swarm_api::{Endpoint, Service, UpdateState, UpdateStatus};

use super::{Doc, head, list, spec};
use crate::age::rfc3339;

/// The incumbent's name of an update's state; empty while there is none.
pub fn update_state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::UpdateNone => "",
        UpdateState::Updating => "updating",
        UpdateState::UpdatePaused => "paused",
        UpdateState::UpdateCompleted => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    }
}

/// `service inspect`.
pub fn service(service: &Service) -> Value {
    head(&service.id, service.meta.as_ref())
        .set("Spec", service.spec.as_ref().map(spec::service).unwrap_or_default())
        .opt("PreviousSpec", service.previous_spec.as_ref().map(spec::service))
        .set("Endpoint", service.endpoint.as_ref().map(endpoint).unwrap_or_else(|| json!({})))
        .opt("UpdateStatus", service.update_status.as_ref().map(update))
        .build()
}

fn endpoint(endpoint: &Endpoint) -> Value {
    Doc::default()
        .opt("Spec", endpoint.spec.as_ref().map(spec::endpoint))
        .opt("Ports", list(&endpoint.ports, spec::port))
        .opt(
            "VirtualIPs",
            list(&endpoint.virtual_ips, |v| json!({"NetworkID": v.network_id, "Addr": v.address})),
        )
        .build()
}

fn update(status: &UpdateStatus) -> Value {
    Doc::default()
        .opt("State", update_state(status.state()))
        .opt("StartedAt", rfc3339(status.started_at.as_ref()))
        .opt("CompletedAt", rfc3339(status.completed_at.as_ref()))
        .opt("Message", status.message.as_str())
        .build()
}
