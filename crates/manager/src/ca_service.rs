//! Issues identities: the root to whoever asks, a certificate to who shows a join token, a new one to a node that has one.
//!
//! A node whose certificate has expired proves its key instead (`recovery`).
//!
//! Issuing makes the node's object. Its id is derived from the certificate request, so a joiner that asks again becomes the
//! same node. Roles are changed elsewhere (`membership`): a renewal only carries the node's role as it is now.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use swarm_api::*;
use swarm_ca::JoinToken;
use swarm_raft_store::{Store, View};
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate, is_removed};
use crate::clock::Clock;
use crate::object_id;
use crate::refusal::Refusal;
use failures::FailureLimit;
use signer::Signer;

pub use recovery::Recovery;
pub use signer::{issuing_digest, trusted_roots};

mod failures;
mod recovery;
mod signer;
#[cfg(test)]
mod tests;

/// Life of a node's certificate unless the swarm's settings say otherwise.
pub const CERT_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);

/// The identity service.
pub struct NodeCa {
    store: Store,
    clock: Clock,
    gate: Gate,
    failures: Mutex<FailureLimit>,
}

impl NodeCa {
    /// Issues with the root that `store` holds.
    pub fn new(store: Store, clock: Clock, gate: Gate) -> Self {
        Self { store, clock, gate, failures: Mutex::default() }
    }

    /// Signs and makes the node's object in one go, unless an earlier try has made it: a root that is replaced meanwhile
    /// does not leave a node behind that nobody waits for.
    async fn issue(
        &self,
        request: IssueCertificateRequest,
    ) -> Result<IssueCertificateResponse, Refusal> {
        let now = self.clock.now();
        let node_id = object_id::of_bytes(&request.csr_der);
        // Guesses do not get as far as a transaction.
        let known = self.store.view().cluster().map(|c| role_of(c, &request.token).is_some());
        if !known.ok_or_else(preparing)? {
            return Err(self.refuse_token(now));
        }
        let issued = self.store.transact(self.clock.now_nanos(), |tx| {
            let view = tx.view().clone();
            let cluster = view.cluster().ok_or_else(preparing)?;
            let role = role_of(cluster, &request.token).ok_or_else(|| self.refuse_token(now))?;
            if let Some(node) = view.get::<Node>(&node_id) {
                // A node that asks again has the role that it has by now.
                return answer(&view, cluster, &request.csr_der, &node_id, node.role(), now);
            }
            let answer = answer(&view, cluster, &request.csr_der, &node_id, role, now)?;
            let spec = NodeSpec {
                annotations: Some(Annotations::default()),
                desired_role: role.into(),
                availability: request.availability,
            };
            tx.create(new_node(&node_id, &request.hostname, spec))?;
            Ok::<_, Refusal>(answer)
        });
        let issued = issued.await?;
        let data_path_port = self.store.view().cluster().map_or(0, |c| c.data_path_port);
        Ok(IssueCertificateResponse {
            node_id,
            role: issued.role,
            certificate_pem: issued.certificate_pem,
            root_ca_pem: issued.root_ca_pem,
            data_path_port,
        })
    }

    /// A wrong token costs the guesser time; right ones always pass.
    fn refuse_token(&self, now: SystemTime) -> Refusal {
        let text = "a valid join token is necessary to join this cluster: ask a manager with \
             `swarmctl join-token worker` or `swarmctl join-token manager`";
        self.refuse(now, Refusal::Denied(text.into()))
    }

    /// `why`, unless it was said too often of late.
    fn refuse(&self, now: SystemTime, why: Refusal) -> Refusal {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.count(now) {
            true => why,
            false => Refusal::TooOften("too many failed attempts to join: wait a minute".into()),
        }
    }

    fn renew(&self, node_id: &str, csr_der: &[u8]) -> Result<Issued, Refusal> {
        let view = self.store.view();
        let cluster = view.cluster().ok_or_else(preparing)?;
        renewed(&view, cluster, node_id, csr_der, self.clock.now())
    }
}

/// What is issued, with all that belongs to it.
type Issued = RenewCertificateResponse;

/// A certificate for a member, with the role that it has now.
fn renewed(
    view: &View,
    cluster: &Cluster,
    node_id: &str,
    csr_der: &[u8],
    now: SystemTime,
) -> Result<Issued, Refusal> {
    let node = view.get::<Node>(node_id).ok_or_else(|| {
        Refusal::Denied(format!("node {node_id} is not part of this swarm: join it again"))
    })?;
    answer(view, cluster, csr_der, node_id, node.role(), now)
}

/// A certificate of the cluster's root for a node that was not removed.
pub(crate) fn sign(
    view: &View,
    cluster: &Cluster,
    csr_der: &[u8],
    node_id: &str,
    role: NodeRole,
    now: SystemTime,
) -> Result<String, Refusal> {
    answer(view, cluster, csr_der, node_id, role, now).map(|issued| issued.certificate_pem)
}

fn answer(
    view: &View,
    cluster: &Cluster,
    csr_der: &[u8],
    node_id: &str,
    role: NodeRole,
    now: SystemTime,
) -> Result<Issued, Refusal> {
    if is_removed(view, node_id) {
        return Err(Refusal::Denied(format!("node {node_id} was removed from the swarm")));
    }
    let certificate_pem = Signer::of(cluster)?.sign(csr_der, node_id, role, now)?;
    let root_ca_pem = cluster.root_ca.as_ref().map(trusted_roots).unwrap_or_default();
    Ok(Issued { role: role.into(), certificate_pem, root_ca_pem })
}

/// The object of a node that has just been given an identity.
pub fn new_node(node_id: &str, hostname: &str, spec: NodeSpec) -> Node {
    let role = spec.desired_role;
    let description = NodeDescription { hostname: hostname.to_owned(), ..Default::default() };
    let certificate =
        NodeCertificate { state: CertState::CertIssued.into(), role, ..NodeCertificate::default() };
    Node {
        id: node_id.to_owned(),
        spec: Some(spec),
        role,
        description: Some(description),
        status: Some(NodeStatus::default()),
        certificate: Some(certificate),
        ..Node::default()
    }
}

fn preparing() -> Refusal {
    Refusal::Unavailable("the swarm is being prepared: try again".into())
}

fn role_of(cluster: &Cluster, text: &str) -> Option<NodeRole> {
    let given: JoinToken = text.parse().ok()?;
    let tokens = cluster.root_ca.as_ref()?.join_tokens.as_ref()?;
    let matches = |own: &str| own.parse::<JoinToken>().is_ok_and(|own| own.matches(&given));
    if matches(&tokens.manager) {
        return Some(NodeRole::Manager);
    }
    matches(&tokens.worker).then_some(NodeRole::Worker)
}

#[tonic::async_trait]
impl node_ca_server::NodeCa for NodeCa {
    async fn get_root_ca(
        &self,
        request: Request<GetRootCaRequest>,
    ) -> Result<Response<GetRootCaResponse>, Status> {
        self.gate.admit(&request, Audience::Anyone)?;
        let view = self.store.view();
        let root = view.cluster().and_then(|c| c.root_ca.as_ref()).ok_or_else(preparing)?;
        let certificate_pem = trusted_roots(root);
        Ok(Response::new(GetRootCaResponse { certificate_pem }))
    }

    async fn issue_certificate(
        &self,
        request: Request<IssueCertificateRequest>,
    ) -> Result<Response<IssueCertificateResponse>, Status> {
        self.gate.admit(&request, Audience::Anyone)?;
        Ok(Response::new(self.issue(request.into_inner()).await?))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let node_id = self.gate.admit_node(&request)?;
        Ok(Response::new(self.renew(&node_id, &request.into_inner().csr_der)?))
    }
}
