//! The root as it signs now: while it is being replaced the new one does, and shows the old one's word for it.

use std::time::{Duration, SystemTime};

use swarm_api::time::or_default;
use swarm_api::{Cluster, NodeRole, RootCa};
use swarm_ca::Root;

use super::{CERT_EXPIRY, preparing};
use crate::refusal::Refusal;

/// Signs for one cluster as it is in one view.
pub struct Signer<'a> {
    cluster: &'a Cluster,
    root: Root,
    /// Goes with every certificate; empty where the root speaks for itself.
    cross_signed_pem: &'a str,
}

impl<'a> Signer<'a> {
    /// As `cluster` says.
    pub fn of(cluster: &'a Cluster) -> Result<Self, Refusal> {
        let root_ca = cluster.root_ca.as_ref().ok_or_else(preparing)?;
        let (certificate, key, cross_signed_pem) = match &root_ca.rotation {
            Some(r) => (&r.certificate_pem, &r.key_pem, r.cross_signed_pem.as_str()),
            None => (&root_ca.certificate_pem, &root_ca.key_pem, ""),
        };
        let root = Root::from_pem(certificate, Some(key))
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(Self { cluster, root, cross_signed_pem })
    }

    /// A certificate for the request's key: the chain in PEM, leaf first.
    pub fn sign(
        &self,
        csr_der: &[u8],
        node_id: &str,
        role: NodeRole,
        now: SystemTime,
    ) -> Result<String, Refusal> {
        let validity = life(self.cluster);
        let leaf = self.root.issue(csr_der, node_id, role, &self.cluster.id, validity, now);
        let leaf = leaf.map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(leaf + self.cross_signed_pem)
    }
}

/// Life of a certificate.
fn life(cluster: &Cluster) -> Duration {
    let expiry = cluster.spec.as_ref().and_then(|s| s.node_cert_expiry.as_ref());
    or_default(expiry, CERT_EXPIRY)
}

/// The roots that nodes trust, PEM: the present one, and the one that is to come.
pub fn trusted_roots(root_ca: &RootCa) -> String {
    let coming = root_ca.rotation.as_ref().map_or("", |r| r.certificate_pem.as_str());
    format!("{}{coming}", root_ca.certificate_pem)
}

/// Digest of the root that certificates are to be from.
pub fn issuing_digest(root_ca: &RootCa) -> String {
    root_ca.rotation.as_ref().map_or(&root_ca.digest, |r| &r.digest).clone()
}
