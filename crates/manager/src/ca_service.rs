//! Issues identities: the root to whoever asks, a certificate to who shows a join token, a new one to a node that has one.
//!
//! Issuing makes the node's object. Its id is derived from the certificate request, so a joiner that asks again becomes the
//! same node. Roles are changed elsewhere (`membership`): a renewal only carries the node's role as it is now.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use swarm_api::time::or_default;
use swarm_api::*;
use swarm_ca::{JoinToken, Root};
use swarm_raft_store::{Store, View};
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate, is_removed};
use crate::clock::Clock;
use crate::object_id;
use crate::refusal::Refusal;
use failures::FailureLimit;

mod failures;
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

    async fn issue(
        &self,
        request: IssueCertificateRequest,
    ) -> Result<IssueCertificateResponse, Refusal> {
        let now = self.clock.now();
        let view = self.store.view();
        let cluster = view.cluster().ok_or_else(preparing)?;
        let role = role_of(cluster, &request.token).ok_or_else(|| self.refuse_token(now))?;
        let node_id = object_id::of_bytes(&request.csr_der);
        // A node that asks again has the role that it has by now.
        let role = view.get::<Node>(&node_id).map_or(role, Node::role);
        let certificate_pem = sign(&view, cluster, &request.csr_der, &node_id, role, now)?;
        self.admit(&node_id, role, &request).await?;
        let root_ca_pem = cluster.root_ca.as_ref().map(|r| r.certificate_pem.clone());
        Ok(IssueCertificateResponse {
            node_id,
            role: role.into(),
            certificate_pem,
            root_ca_pem: root_ca_pem.unwrap_or_default(),
            data_path_port: cluster.data_path_port,
        })
    }

    /// A wrong token costs the guesser time; right ones always pass.
    fn refuse_token(&self, now: SystemTime) -> Refusal {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.count(now) {
            true => Refusal::Denied(
                "a valid join token is necessary to join this cluster: ask a manager with \
                 `swarmctl join-token worker` or `swarmctl join-token manager`"
                    .into(),
            ),
            false => Refusal::TooOften("too many failed attempts to join: wait a minute".into()),
        }
    }

    /// Makes the node's object, unless an earlier try has.
    async fn admit(
        &self,
        node_id: &str,
        role: NodeRole,
        request: &IssueCertificateRequest,
    ) -> Result<(), Refusal> {
        self.store
            .transact(self.clock.now_nanos(), |tx| {
                if tx.view().get::<Node>(node_id).is_some() {
                    return Ok(());
                }
                let spec = NodeSpec {
                    annotations: Some(Annotations::default()),
                    desired_role: role.into(),
                    availability: request.availability,
                };
                Ok(tx.create(new_node(node_id, &request.hostname, spec))?)
            })
            .await
    }

    fn renew(&self, node_id: &str, csr_der: &[u8]) -> Result<RenewCertificateResponse, Refusal> {
        let view = self.store.view();
        let cluster = view.cluster().ok_or_else(preparing)?;
        let node = view.get::<Node>(node_id).ok_or_else(|| {
            Refusal::Denied(format!("node {node_id} is not part of this swarm: join it again"))
        })?;
        let now = self.clock.now();
        let certificate_pem = sign(&view, cluster, csr_der, node_id, node.role(), now)?;
        let root_ca_pem = cluster.root_ca.as_ref().map(|r| r.certificate_pem.clone());
        Ok(RenewCertificateResponse {
            role: node.role,
            certificate_pem,
            root_ca_pem: root_ca_pem.unwrap_or_default(),
        })
    }
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

/// A certificate of the cluster's root for a node that was not removed.
pub(crate) fn sign(
    view: &View,
    cluster: &Cluster,
    csr_der: &[u8],
    node_id: &str,
    role: NodeRole,
    now: SystemTime,
) -> Result<String, Refusal> {
    if is_removed(view, node_id) {
        return Err(Refusal::Denied(format!("node {node_id} was removed from the swarm")));
    }
    let root = cluster.root_ca.as_ref().ok_or_else(preparing)?;
    let root = Root::from_pem(&root.certificate_pem, Some(&root.key_pem))
        .map_err(|error| Refusal::Internal(error.to_string()))?;
    let expiry = cluster.spec.as_ref().and_then(|s| s.node_cert_expiry.as_ref());
    let validity = or_default(expiry, CERT_EXPIRY);
    root.issue(csr_der, node_id, role, &cluster.id, validity, now)
        .map_err(|error| Refusal::Invalid(error.to_string()))
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
        let certificate_pem = root.certificate_pem.clone();
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
