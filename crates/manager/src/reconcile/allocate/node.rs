//! What a node gets: an address of its own in every network where it has tasks, and in the ingress network.

use std::collections::BTreeSet;

use swarm_api::NodeAttachment;

use super::is_overlay;
use super::pool::Pools;
use crate::reconcile::draft::Draft;
use crate::reconcile::slot::ingress;

/// Gives the node the addresses that it needs and takes back those that it does not. What cannot be had is tried again
/// with the next pass that looks at the node; tasks that depend on it have said so themselves.
pub(in crate::reconcile) fn attach_node(
    draft: &mut Draft<'_>,
    pools: &mut Option<Pools>,
    node_id: &str,
) {
    let Some(node) = draft.node(node_id) else { return };
    let mut needed: BTreeSet<String> = draft
        .tasks_of_node(node_id)
        .filter(|t| !t.is_terminal())
        .flat_map(|t| t.networks.iter().map(|a| a.network_id.clone()))
        .filter(|id| draft.network(id).is_some_and(is_overlay))
        .collect();
    needed.extend(ingress(draft).map(|n| n.id.clone()));
    let has: BTreeSet<String> = node.attachments.iter().map(|a| a.network_id.clone()).collect();
    if needed == has {
        return;
    }
    let mut node = node.clone();
    node.attachments.retain(|a| needed.contains(&a.network_id));
    draft.put_node(node);
    for network_id in needed.difference(&has) {
        let pools = pools.get_or_insert_with(|| Pools::of(draft));
        if let Err(why) = give_address(draft, pools, node_id, network_id) {
            tracing::warn!(node_id, network_id, why, "node has no address in the network");
        }
    }
}

/// The node's address in a network.
pub(super) fn address_of<'d>(
    draft: &'d Draft<'_>,
    node_id: &str,
    network_id: &str,
) -> Option<&'d str> {
    let attachments = &draft.node(node_id)?.attachments;
    attachments.iter().find(|a| a.network_id == network_id).map(|a| a.address.as_str())
}

/// A new address for the node in a network; if there is none, why.
pub(super) fn give_address(
    draft: &mut Draft<'_>,
    pools: &mut Pools,
    node_id: &str,
    network_id: &str,
) -> Result<(), String> {
    let Some(mut node) = draft.node(node_id).cloned() else { return Ok(()) };
    let address = pools.take(draft, network_id)?;
    node.attachments.push(NodeAttachment { network_id: network_id.to_owned(), address });
    draft.put_node(node);
    Ok(())
}
