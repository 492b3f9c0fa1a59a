//! Which networks are used by services. Used by the commands that ask for unused ones; the manager itself refuses to remove
//! a network that is used.

use std::collections::BTreeSet;

use anyhow::Result;
use swarm_api::{ListServicesRequest, Service};

use crate::client::{Client, ask};

/// Ids of the networks that some service is on.
pub async fn used(client: &Client) -> Result<BTreeSet<String>> {
    let services = ask!(client, list_services, ListServicesRequest::default())?.services;
    Ok(services.iter().flat_map(of).collect())
}

fn of(service: &Service) -> Vec<String> {
    let task = service.spec.as_ref().and_then(|s| s.task.as_ref());
    let named = task.map_or(&[][..], |t| &t.networks).iter().map(|n| n.target.clone());
    let endpoint = service.endpoint.as_ref().map_or(&[][..], |e| &e.virtual_ips);
    named.chain(endpoint.iter().map(|v| v.network_id.clone())).collect()
}
