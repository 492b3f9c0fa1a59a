//! Nodes: their labels, availability and wanted role, and their removal. The role itself follows in `membership`.

use std::time::Duration;

use prost::Message;
use swarm_api::object::Stored;
use swarm_api::time::{or_default, timestamp, to_nanos};
use swarm_api::*;
use swarm_raft_store::{MemberState, Transaction, View};

use super::{Door, filter, material::expect_version};
use crate::budget::Budget;
use crate::ca_service::CERT_EXPIRY;
use crate::membership::leaving;
use crate::quorum::{arithmetic, may_leave};
use crate::refusal::Refusal;

/// A removed node's certificate is refused for this long beyond the longest that it may be valid: clocks differ.
const REFUSAL_MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn list(door: &Door, request: ListNodesRequest) -> Result<ListNodesResponse, Refusal> {
    let view = door.view().await?;
    let statuses = door.quorum.statuses();
    let shown = |node: &&Node| {
        let names = [node.hostname(), node.name()];
        filter::passes(request.filters.as_ref(), *node, &names)
            && (request.roles.is_empty() || request.roles.contains(&node.role))
    };
    let nodes = view.all::<Node>().filter(shown).cloned();
    let nodes = nodes.map(|node| with_status(node, &statuses)).collect();
    Ok(ListNodesResponse { nodes })
}

pub async fn get(door: &Door, request: GetNodeRequest) -> Result<GetNodeResponse, Refusal> {
    let view = door.view().await?;
    let node = view.resolve::<Node>(&request.node)?.clone();
    Ok(GetNodeResponse { node: Some(with_status(node, &door.quorum.statuses())) })
}

type Statuses = std::collections::BTreeMap<String, ManagerStatus>;

/// Who leads and who is reachable is known at the time of asking only.
fn with_status(mut node: Node, statuses: &Statuses) -> Node {
    if let Some(status) = statuses.get(&node.id) {
        node.manager_status = Some(status.clone());
    }
    node
}

pub async fn update(
    door: &Door,
    request: UpdateNodeRequest,
) -> Result<UpdateNodeResponse, Refusal> {
    let spec = request.spec.ok_or_else(|| Refusal::Invalid("the update carries no spec".into()))?;
    door.view().await?;
    let members = door.quorum.members();
    let node: Node = door
        .change(&request.node_id, |tx| {
            let mut node = tx.view().resolve::<Node>(&request.node_id)?.clone();
            let id = node.id.clone();
            let was_manager = node.role() == NodeRole::Manager
                || node.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Manager);
            if was_manager && spec.desired_role() == NodeRole::Worker {
                may_leave(&members, &id, &leaving(tx.view()))?;
                refuse_last_manager(tx.view(), &id)?;
            }
            node.spec = Some(spec.clone());
            expect_version(&mut node, request.version);
            tx.update(node)?;
            Ok(id)
        })
        .await?;
    let node = with_status(node, &door.quorum.statuses());
    Ok(UpdateNodeResponse { node: Some(node) })
}

/// Counts wishes, not roles: two demotions at once must not pass both.
fn refuse_last_manager(view: &View, id: &str) -> Result<(), Refusal> {
    let stays = |node: &Node| {
        node.id != id && node.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Manager)
    };
    match view.all::<Node>().any(stays) {
        true => Ok(()),
        false => Err(Refusal::Conflict(
            "attempting to demote the last manager of the swarm: promote another node first".into(),
        )),
    }
}

pub async fn remove(
    door: &Door,
    request: RemoveNodeRequest,
) -> Result<RemoveNodeResponse, Refusal> {
    let now = door.clock.now();
    door.view().await?;
    let members = door.quorum.members();
    door.write_once(|tx| {
        let node = tx.view().resolve::<Node>(&request.node)?.clone();
        refuse_in_use(&node, &members, request.force)?;
        blacklist(tx, &node.id, now)?;
        orphan_tasks(tx, &node.id, now)?;
        Ok(tx.remove::<Node>(&node.id)?)
    })
    .await?;
    Ok(RemoveNodeResponse {})
}

fn refuse_in_use(node: &Node, members: &[MemberState], force: bool) -> Result<(), Refusal> {
    let member = members.iter().any(|m| m.member.node_id == node.id);
    let wants_manager = node.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Manager);
    if member || wants_manager || node.role() == NodeRole::Manager {
        return Err(Refusal::Conflict(format!(
            "node {} is a cluster manager and is a member of the raft cluster. It must be demoted \
             to worker before removal: 'swarmctl node demote {}' ({})",
            node.id,
            node.hostname(),
            arithmetic(members, &node.id)
        )));
    }
    match node.is_ready() && !force {
        true => Err(Refusal::Conflict(format!(
            "node {} is not down and can't be removed; stop it first, or use --force",
            node.id
        ))),
        false => Ok(()),
    }
}

/// Its certificate is refused from now on; entries of certificates that have expired since are dropped.
fn blacklist(
    tx: &mut Transaction,
    node_id: &str,
    now: std::time::SystemTime,
) -> Result<(), Refusal> {
    let Some(mut cluster) = tx.view().cluster().cloned() else { return Ok(()) };
    let expiry = cluster.spec.as_ref().and_then(|s| s.node_cert_expiry.as_ref());
    let until = timestamp(now + or_default(expiry, CERT_EXPIRY) + REFUSAL_MARGIN);
    let now = to_nanos(&timestamp(now));
    let running = |r: &RemovedNode| r.refused_until.as_ref().is_none_or(|t| to_nanos(t) > now);
    cluster.removed_nodes.retain(running);
    let removed = RemovedNode { node_id: node_id.to_owned(), refused_until: Some(until) };
    cluster.removed_nodes.push(removed);
    Ok(tx.update(cluster)?)
}

/// As many as one commit takes; a pass does the same for the others.
fn orphan_tasks(
    tx: &mut Transaction,
    node_id: &str,
    now: std::time::SystemTime,
) -> Result<(), Refusal> {
    let tasks: Vec<Task> = tx.view().tasks_of_node(node_id).cloned().collect();
    let mut budget = Budget::new();
    for mut task in tasks.into_iter().filter(|t| !t.is_terminal()) {
        if !budget.take(task.encoded_len()) {
            return Ok(());
        }
        let status = task.status.get_or_insert_default();
        status.set_state(TaskState::Orphaned);
        status.timestamp = Some(timestamp(now));
        status.message = "its node was removed from the swarm".into();
        tx.update(task)?;
    }
    Ok(())
}
