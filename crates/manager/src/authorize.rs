//! Who may call what. Every call is judged before its service hears of it: by its path, from the list in `rules`. Services
//! ask [`Gate`] once more, for who it is that calls.
//!
//! Who calls was decided by the TLS layer (see [`swarm_ca::Caller`]) or, for a call passed on by another manager, by
//! `proxy`. Here it is only judged, against the newest local view.

use swarm_api::{Node, NodeRole};
use swarm_ca::Caller;
use swarm_raft_store::{Store, View};
use tonic::body::Body;
use tonic::{Request, Status};

mod guard;
mod rules;

pub use guard::Guard;
pub use rules::audience;

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Audience {
    /// Anyone, also without a certificate.
    Anyone,
    /// Any node of the cluster, for itself.
    Nodes,
    /// Users: root on a manager's host, or a manager's certificate.
    Operators,
    /// Managers speaking Raft. A certificate is enough unless the view knows that its node is no manager any more: a
    /// follower that lags may not know yet that its leader was promoted, and must hear it all the same to catch up.
    Peers,
    /// Root on this host, about this host: no manager answers it for another node.
    Host,
}

/// Judges callers against the store's newest view.
#[derive(Clone)]
pub struct Gate {
    store: Store,
    cluster_id: String,
}

impl Gate {
    /// A gate for the cluster `cluster_id`.
    pub fn new(store: Store, cluster_id: String) -> Self {
        Self { store, cluster_id }
    }

    /// The caller, if it may make this call.
    pub fn admit<T>(&self, request: &Request<T>, audience: Audience) -> Result<Caller, Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        self.judge(&caller, audience)?;
        Ok(caller)
    }

    /// Whether this caller is of the audience, as far as is known here now.
    pub fn judge(&self, caller: &Caller, audience: Audience) -> Result<(), Status> {
        judge(&self.store.view(), &self.cluster_id, caller, audience)
    }

    /// Whether the call may go on to its service, by its path.
    pub fn check(&self, request: &http::Request<Body>) -> Result<(), Status> {
        let path = request.uri().path();
        let caller = request.extensions().get::<Caller>().unwrap_or(&Caller::Anonymous);
        match audience(path) {
            Some(audience) => self.judge(caller, audience),
            None => Err(Status::unimplemented(format!("there is no call {path} here"))),
        }
    }

    /// The id of the calling node; the local socket has none.
    pub fn admit_node<T>(&self, request: &Request<T>) -> Result<String, Status> {
        match self.admit(request, Audience::Nodes)? {
            Caller::Node { node_id, .. } => Ok(node_id),
            _ => Err(Status::permission_denied("this call needs a node's certificate")),
        }
    }
}

/// The rules themselves.
fn judge(view: &View, cluster: &str, caller: &Caller, audience: Audience) -> Result<(), Status> {
    if audience == Audience::Anyone {
        return Ok(());
    }
    let (node_id, role, cluster_id) = match caller {
        Caller::Anonymous => {
            return Err(Status::unauthenticated("this call needs a certificate of the swarm"));
        }
        Caller::Local => return judge_local(audience),
        Caller::Node { node_id, role, cluster_id } => (node_id, *role, cluster_id),
    };
    if cluster_id != cluster {
        return Err(Status::permission_denied(format!(
            "node {node_id} belongs to swarm {cluster_id}, this is swarm {cluster}"
        )));
    }
    if is_removed(view, node_id) {
        return Err(Status::permission_denied(format!(
            "node {node_id} was removed from the swarm"
        )));
    }
    let manager = match audience {
        Audience::Nodes => return judge_member(view, node_id),
        Audience::Host => {
            return Err(Status::permission_denied("only root on the node itself may call this"));
        }
        Audience::Peers => role == NodeRole::Manager && !was_manager(view, node_id),
        _ => role == NodeRole::Manager && is_manager(view, node_id),
    };
    match manager {
        true => Ok(()),
        false => Err(Status::permission_denied(format!(
            "node {node_id} is a worker: only managers may view or modify the state of the swarm"
        ))),
    }
}

fn judge_local(audience: Audience) -> Result<(), Status> {
    match audience {
        Audience::Peers => {
            Err(Status::permission_denied("this call needs a manager's certificate"))
        }
        Audience::Nodes => Err(Status::permission_denied("this call needs a node's certificate")),
        _ => Ok(()),
    }
}

/// A certificate outlives the note that its node was removed, if it was issued for longer than is usual now.
fn judge_member(view: &View, node_id: &str) -> Result<(), Status> {
    match view.get::<Node>(node_id).is_some() || view.cluster().is_none() {
        true => Ok(()),
        false => Err(Status::permission_denied(format!(
            "node {node_id} is not part of this swarm: join it again"
        ))),
    }
}

/// Whether the node was removed and its certificate is to be refused.
pub fn is_removed(view: &View, node_id: &str) -> bool {
    view.cluster().is_some_and(|c| c.removed_nodes.iter().any(|r| r.node_id == node_id))
}

/// A demoted node may hold its old certificate until that expires: the store knows better, once there is anything in it.
fn is_manager(view: &View, node_id: &str) -> bool {
    match view.get::<Node>(node_id) {
        Some(node) => node.role() == NodeRole::Manager,
        None => view.cluster().is_none(),
    }
}

/// Not the contrary of [`is_manager`]: of a node that this replica knows as a worker, or not at all, it may just not have
/// heard yet that it was promoted.
pub(crate) fn was_manager(view: &View, node_id: &str) -> bool {
    view.get::<Node>(node_id).is_some_and(|n| n.was_manager && n.role() == NodeRole::Worker)
}

#[cfg(test)]
mod tests;
