//! A cluster from what is left of it, with no manager running: from the folder of a manager's store,
//! or from a snapshot. One node becomes its only manager; nothing else of the state is changed but
//! that the other managers are none any more.
//!
//! Offline and blocking. Certificates may have expired: a new one is issued with the root's key, which
//! is in the state. The files around it are the node's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::SystemTime;

use swarm_api::object::Stored;
use swarm_api::time::{nanos_of, to_nanos};
use swarm_api::*;
use swarm_ca::{CaError, Identity, RecoveryKey, new_csr};
use swarm_raft_store::{
    DataKeys, Member, Remains, StoreError, Transaction, View, amend, found, read_archive,
};

pub use swarm_raft_store::ArchiveError;

use crate::authorize::is_removed;
use crate::ca_service::{new_node, sign, trusted_roots};
use crate::manager::new_raft_id;
use crate::membership::take_role;
use crate::refusal::Refusal;

/// Why a cluster cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The folder cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It holds no whole cluster.
    #[error("it holds no cluster: {0}")]
    Empty(&'static str),
    /// The new manager cannot be made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The new manager's identity cannot be made.
    #[error(transparent)]
    Identity(#[from] CaError),
}

/// What was found of a cluster.
#[derive(Debug, Clone)]
pub struct Salvage {
    /// The whole state.
    pub view: View,
    /// Term of the last change.
    pub term: u64,
    /// A manager's folder: changes up to this one are known to be committed.
    pub committed: Option<u64>,
    /// A snapshot: when it was saved.
    pub saved_at_ns: Option<i64>,
    /// The managers as they were.
    pub members: Vec<Member>,
    /// A manager's folder: the node that it belongs to.
    pub node_id: Option<String>,
    // Newer than any term that is known of.
    next_term: u64,
}

impl Salvage {
    /// From the folder of a manager that does not run. Its database may repair itself: give a copy
    /// where it must stay as it is.
    pub fn from_folder(dir: &Path, data_keys: &DataKeys) -> Result<Self, RecoveryError> {
        let remains = Remains::read(&dir.join(crate::manager::RAFT_FOLDER), data_keys)?;
        Self {
            next_term: remains.term.max(remains.last_term) + 1,
            term: remains.last_term,
            committed: Some(remains.committed.min(remains.view.version())),
            saved_at_ns: None,
            members: remains.members,
            node_id: Some(remains.node_id),
            view: remains.view,
        }
        .checked()
    }

    /// From a snapshot. All of it is checked.
    pub fn from_snapshot(file: &Path, key: &RecoveryKey) -> Result<Self, RecoveryError> {
        let file = File::open(file).map_err(ArchiveError::Io)?;
        let (cover, view) = read_archive(BufReader::new(file), key.bytes())?;
        Self {
            view,
            term: cover.term,
            committed: None,
            saved_at_ns: Some(cover.saved_at_ns),
            members: cover.members,
            node_id: None,
            // The terms since the snapshot are not known; the group's Raft id is new anyway.
            next_term: cover.term + 1,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, RecoveryError> {
        let cluster = self.view.cluster().ok_or(RecoveryError::Empty("no cluster was made yet"))?;
        let root = cluster.root_ca.as_ref().filter(|root| !root.key_pem.is_empty());
        root.ok_or(RecoveryError::Empty("the key of its root is missing"))?;
        Ok(self)
    }

    /// Index of the last change.
    pub fn index(&self) -> u64 {
        self.view.version()
    }

    /// Id of the cluster.
    pub fn cluster_id(&self) -> String {
        self.view.cluster().map(|c| c.id.clone()).unwrap_or_default()
    }

    /// UDP port of the cluster's data path.
    pub fn data_path_port(&self) -> u32 {
        self.view.cluster().map_or(0, |c| c.data_path_port)
    }

    /// When anything was changed last, nanoseconds; 0 if nothing says.
    pub fn changed_at_ns(&self) -> i64 {
        fn newest<T: Stored>(view: &View) -> i64 {
            let times = view.all::<T>().filter_map(|o| o.meta()?.updated_at.as_ref().map(to_nanos));
            times.max().unwrap_or(0)
        }
        let v = &self.view;
        let newest = [
            newest::<Cluster>(v),
            newest::<Node>(v),
            newest::<Service>(v),
            newest::<Task>(v),
            newest::<Network>(v),
            newest::<Secret>(v),
            newest::<Config>(v),
        ];
        newest.into_iter().max().unwrap_or(0)
    }

    /// How many objects of each kind there are, by the kind's plural.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("nodes", self.view.count::<Node>()),
            ("services", self.view.count::<Service>()),
            ("tasks", self.view.count::<Task>()),
            ("networks", self.view.count::<Network>()),
            ("secrets", self.view.count::<Secret>()),
            ("configs", self.view.count::<Config>()),
        ])
    }

    /// Whether `node_id` may become the manager as the node that it was.
    pub fn knows(&self, node_id: &str) -> bool {
        self.view.get::<Node>(node_id).is_some() && !is_removed(&self.view, node_id)
    }

    /// Hostname of a node, its id if it has none.
    pub fn hostname(&self, node_id: &str) -> String {
        self.view.get::<Node>(node_id).map_or(node_id.to_owned(), |n| n.hostname().to_owned())
    }
}

/// Who is to be the only manager.
#[derive(Debug, Clone)]
pub struct Heir {
    /// A node of the cluster, or a new id.
    pub node_id: String,
    /// For a new node.
    pub hostname: String,
    /// `host:port` that others reach it by.
    pub addr: String,
}

/// Writes the store of the recovered cluster into `dir`, where there must be none, sealed under
/// `data_keys`; gives its manager's identity. On disk when it returns; the identity is not.
pub fn restore(
    salvage: &Salvage,
    heir: &Heir,
    dir: &Path,
    data_keys: &DataKeys,
    now: SystemTime,
) -> Result<Identity, RecoveryError> {
    let raft_id = new_raft_id();
    let view = amend(&salvage.view, nanos_of(now), |tx| install(tx, heir, raft_id))?;
    let cluster = view.cluster().ok_or(RecoveryError::Empty("no cluster was made yet"))?;
    let (key, csr) = new_csr()?;
    let pem = sign(&view, cluster, &csr, &heir.node_id, NodeRole::Manager, now)?;
    let roots = cluster.root_ca.as_ref().map(trusted_roots).unwrap_or_default();
    let identity = Identity::new(pem, key, roots)?;
    let member = Member { raft_id, node_id: heir.node_id.clone(), addr: heir.addr.clone() };
    found(&dir.join(crate::manager::RAFT_FOLDER), data_keys, &member, salvage.next_term, &view)?;
    Ok(identity)
}

/// The heir is the manager; who was one becomes a worker, should it come back, and may be promoted
/// again.
fn install(tx: &mut Transaction, heir: &Heir, raft_id: u64) -> Result<(), Refusal> {
    let nodes: Vec<Node> = tx.view().all::<Node>().cloned().collect();
    for mut node in nodes {
        if node.id == heir.node_id {
            continue;
        }
        let manages = node.role() == NodeRole::Manager
            || node.spec.as_ref().is_some_and(|s| s.desired_role() == NodeRole::Manager);
        if manages {
            take_role(&mut node, NodeRole::Worker);
            node.was_manager = true;
            node.spec.get_or_insert_default().set_desired_role(NodeRole::Worker);
            tx.update(node)?;
        }
    }
    let status =
        Some(ManagerStatus { raft_id, addr: heir.addr.clone(), ..ManagerStatus::default() });
    match tx.view().get::<Node>(&heir.node_id).cloned() {
        Some(mut node) => {
            take_role(&mut node, NodeRole::Manager);
            node.spec.get_or_insert_default().set_desired_role(NodeRole::Manager);
            node.manager_status = status;
            tx.update(node)?;
        }
        None => {
            let spec = NodeSpec {
                annotations: Some(Annotations::default()),
                desired_role: NodeRole::Manager.into(),
                availability: NodeAvailability::Active.into(),
            };
            let mut node = new_node(&heir.node_id, &heir.hostname, spec);
            node.manager_status = status;
            tx.create(node)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
