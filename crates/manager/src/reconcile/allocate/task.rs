//! Addresses of a task, once its node is known.

use swarm_api::{NetworkAttachment, Service, Task, name};

use super::is_overlay;
use super::node::{address_of, give_address};
use super::pool::Pools;
use crate::reconcile::draft::Draft;
use crate::reconcile::slot::{has_ingress_ports, ingress};

/// Addresses in all networks of the task, and one for its node in each where it has none yet. If one cannot be had, why;
/// then nothing stays taken for the task.
pub(in crate::reconcile) fn attach_task(
    draft: &mut Draft<'_>,
    pools: &mut Pools,
    service: &Service,
    task: &Task,
    node_id: &str,
) -> Result<Vec<NetworkAttachment>, String> {
    let mut attachments = wanted(draft, service, task)?;
    let mut failed = None;
    for attachment in &mut attachments {
        let overlay = draft.network(&attachment.network_id).is_some_and(is_overlay);
        if !overlay {
            continue;
        }
        match one(draft, pools, node_id, &attachment.network_id) {
            Ok(address) => attachment.address = address,
            Err(why) => {
                failed = Some(why);
                break;
            }
        }
    }
    let Some(why) = failed else { return Ok(attachments) };
    attachments.iter().for_each(|a| pools.free(&a.network_id, &a.address));
    Err(why)
}

fn one(
    draft: &mut Draft<'_>,
    pools: &mut Pools,
    node_id: &str,
    network_id: &str,
) -> Result<String, String> {
    if address_of(draft, node_id, network_id).is_none() {
        give_address(draft, pools, node_id, network_id)?;
    }
    pools.take(draft, network_id)
}

/// The task's networks without addresses; networks that belong to the node have none.
fn wanted(
    draft: &Draft<'_>,
    service: &Service,
    task: &Task,
) -> Result<Vec<NetworkAttachment>, String> {
    let mut attachments: Vec<NetworkAttachment> = Vec::new();
    let named = task.spec.as_ref().map_or(&[][..], |s| &s.networks);
    for config in named.iter().filter(|c| !name::is_node_network(&c.target)) {
        if draft.network(&config.target).is_none() {
            return Err(format!("network {} is gone", config.target));
        }
        attachments
            .push(NetworkAttachment { network_id: config.target.clone(), address: String::new() });
    }
    if has_ingress_ports(service)
        && let Some(network) = ingress(draft)
        && attachments.iter().all(|a| a.network_id != network.id)
    {
        let network_id = network.id.clone();
        attachments.push(NetworkAttachment { network_id, ..NetworkAttachment::default() });
    }
    Ok(attachments)
}
