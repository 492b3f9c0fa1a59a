//! A node whose certificate has expired gets a new one, if it proves its old key and still is a member.
//!
//! Every manager answers from its own view, without a leader: managers whose certificates have all expired can elect none. A
//! view that lags may give a certificate to a node that was just removed; it is refused with it wherever it is shown, as
//! before.

use swarm_api::*;
use swarm_ca::check_recovery;
use tonic::{Request, Response, Status};

use super::{Issued, NodeCa, preparing, renewed, trusted_roots};
use crate::authorize::{Audience, is_removed};
use crate::refusal::Refusal;

impl NodeCa {
    fn recover(&self, request: &RecoverCertificateRequest) -> Result<Issued, Refusal> {
        let now = self.clock.now();
        let view = self.store.view();
        let cluster = view.cluster().ok_or_else(preparing)?;
        let root_ca = cluster.root_ca.as_ref().ok_or_else(preparing)?;
        let claim = check_recovery(
            &request.certificate_pem,
            &request.csr_der,
            &request.signature,
            &trusted_roots(root_ca),
            &cluster.id,
        );
        let claim = claim.map_err(|error| {
            self.refuse(now, Refusal::Denied(format!("no new certificate: {error}")))
        })?;
        let node_id = claim.node_id;
        if is_removed(&view, &node_id) {
            return Err(Refusal::Denied(format!("node {node_id} was removed from the swarm")));
        }
        let issued = renewed(&view, cluster, &node_id, &request.csr_der, now)?;
        tracing::info!(node = node_id, "an expired certificate was replaced");
        Ok(issued)
    }
}

/// The service of its own that has no leader before it.
pub struct Recovery(pub std::sync::Arc<NodeCa>);

#[tonic::async_trait]
impl node_recovery_server::NodeRecovery for Recovery {
    async fn recover_certificate(
        &self,
        request: Request<RecoverCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        self.0.gate.admit(&request, Audience::Anyone)?;
        Ok(Response::new(self.0.recover(request.get_ref())?))
    }
}
