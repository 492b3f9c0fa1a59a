//! The root is replaced while everything runs. From the beginning on certificates are issued by the new root's key, with the
//! old root's word for it, and every node is told to trust both; each then renews its certificate by itself. When all nodes
//! have reported a certificate of the new root and that they trust it, the new root takes the old one's place, and the join
//! tokens, which pin the root, are made anew. Until then the old tokens let nodes in.
//!
//! A node that is down is waited for: it would come back as one that nobody believes. Who does not want to wait removes it.
//! A second rotation replaces an unfinished one; back to the present root, it ends it. Began by `control`.

use std::time::SystemTime;

use swarm_api::{Cluster, JoinTokens, Node, NodeTlsInfo, RootCa, RootRotation};
use swarm_ca::{JoinToken, Root};
use swarm_raft_store::{Store, StoreError, Subscription, View};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// Makes `new` the root that is to come.
pub fn begin(cluster: &mut Cluster, new: &Root, now: SystemTime) -> Result<(), Refusal> {
    let missing = || Refusal::Unavailable("the swarm is being prepared: try again".into());
    let root_ca = cluster.root_ca.as_mut().ok_or_else(missing)?;
    let broken = |e: swarm_ca::CaError| Refusal::Internal(e.to_string());
    let present =
        Root::from_pem(&root_ca.certificate_pem, Some(&root_ca.key_pem)).map_err(broken)?;
    if present.has_key_of(new) {
        // Back to what nodes trust anyway; those with certificates of the other root renew once more.
        return match root_ca.rotation.take() {
            Some(_) => Ok(()),
            None => Err(Refusal::Invalid(
                "the CA key is the one that the swarm's root has now: rotating to it would change \
                 nothing"
                    .into(),
            )),
        };
    }
    if root_ca.rotation.as_ref().is_some_and(|r| r.digest == new.digest()) {
        return Ok(());
    }
    let key_pem = new.key_pem().ok_or_else(|| Refusal::Internal("a root without key".into()))?;
    root_ca.rotation = Some(RootRotation {
        certificate_pem: new.certificate_pem().to_owned(),
        key_pem: key_pem.to_owned(),
        cross_signed_pem: present.cross_sign(new, now).map_err(broken)?,
        digest: new.digest(),
    });
    Ok(())
}

/// Whether everybody has taken the coming root. `None`: there is none.
fn is_complete(view: &View) -> Option<bool> {
    let rotation = view.cluster()?.root_ca.as_ref()?.rotation.as_ref()?;
    Some(view.all::<Node>().all(|node| has_taken(node, &rotation.digest)))
}

/// By what it has said of itself.
fn has_taken(node: &Node, root: &str) -> bool {
    let tls = node.description.as_ref().and_then(|d| d.tls.as_ref());
    let taken = |t: &NodeTlsInfo| t.issuer == root && t.trust_roots.iter().any(|r| r == root);
    tls.is_some_and(taken)
}

/// Puts the coming root in the present one's place.
fn finish(cluster: &mut Cluster) -> Result<(), Refusal> {
    let rotation = cluster.root_ca.as_mut().and_then(|r| r.rotation.take());
    let Some(rotation) = rotation else { return Ok(()) };
    let root = Root::from_pem(&rotation.certificate_pem, None)
        .map_err(|error| Refusal::Internal(error.to_string()))?;
    let token = || JoinToken::generate(&root, &mut rand::rng()).to_string();
    cluster.root_ca = Some(RootCa {
        certificate_pem: rotation.certificate_pem,
        key_pem: rotation.key_pem,
        join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
        rotation: None,
        digest: rotation.digest,
    });
    Ok(())
}

/// Finishes rotations. Runs on the leader.
pub struct Finisher {
    store: Store,
    clock: Clock,
}

impl Finisher {
    /// For `store`.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Runs until cancelled. An error means that this manager can no longer lead.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Refusal> {
        let mut commits = self.store.subscribe();
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(Refusal::Store(
                    error @ (StoreError::Fatal(_) | StoreError::NotLeader { .. }),
                )) => return Err(error.into()),
                // Nodes go on reporting: the next report is the next try.
                Err(refusal) => tracing::warn!(%refusal, "the root rotation is not finished"),
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = concerning(&mut commits) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), Refusal> {
        if is_complete(&self.store.view()) != Some(true) {
            return Ok(());
        }
        let finished = self.store.transact(self.clock.now_nanos(), |tx| {
            // Somebody may have joined meanwhile.
            if is_complete(tx.view()) != Some(true) {
                return Ok(false);
            }
            let Some(mut cluster) = tx.view().cluster().cloned() else { return Ok(false) };
            finish(&mut cluster)?;
            tx.update(cluster)?;
            Ok::<_, Refusal>(true)
        });
        if finished.await? {
            tracing::info!("the root rotation is finished");
        }
        Ok(())
    }
}

/// Waits for a commit that touches a node or the cluster.
async fn concerning(commits: &mut Subscription) {
    loop {
        let Ok(commit) = commits.next().await else {
            commits.resync();
            return;
        };
        let touches = |c: &swarm_raft_store::Change| {
            c.object::<Node>().is_some() || c.object::<Cluster>().is_some()
        };
        if commit.changes.iter().any(touches) {
            return;
        }
    }
}
