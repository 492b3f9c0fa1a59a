//! Who calls: read from the certificate of the connection, never from a message.

use rustls_pki_types::CertificateDer;
use swarm_api::NodeRole;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::CaError;

/// Organisational unit of a manager's certificate; also its DNS name.
pub(crate) const MANAGER_UNIT: &str = "swarm-manager";
/// Organisational unit of a worker's certificate.
pub(crate) const WORKER_UNIT: &str = "swarm-worker";

/// The identity behind a request; the server puts it into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No certificate was shown.
    Anonymous,
    /// Root on this host, through the local socket: may do what a manager may.
    Local,
    /// A member of the cluster.
    Node {
        /// Common name.
        node_id: String,
        /// Organisational unit.
        role: NodeRole,
        /// Organisation.
        cluster_id: String,
    },
}

/// The unit that stands for `role` in a certificate.
pub(crate) fn unit_of(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Manager => MANAGER_UNIT,
        NodeRole::Worker => WORKER_UNIT,
    }
}

/// Reads the caller from the verified certificates of a connection. The chain was checked against the root by TLS already;
/// this checks that the certificate speaks of `cluster_id`.
pub fn caller_of(
    certificates: Option<&[CertificateDer<'_>]>,
    cluster_id: &str,
) -> Result<Caller, CaError> {
    let Some(leaf) = certificates.and_then(|chain| chain.first()) else {
        return Ok(Caller::Anonymous);
    };
    let subject = Subject::of(leaf)?;
    if subject.cluster_id != cluster_id {
        return Err(CaError::malformed(
            "peer certificate",
            format!("is of cluster {}, this is {cluster_id}", subject.cluster_id),
        ));
    }
    Ok(Caller::Node {
        node_id: subject.node_id,
        role: subject.role,
        cluster_id: subject.cluster_id,
    })
}

/// Subject and validity of a node certificate.
pub(crate) struct Subject {
    pub node_id: String,
    pub role: NodeRole,
    pub cluster_id: String,
    /// Seconds since the epoch.
    pub not_before: i64,
    pub not_after: i64,
}

impl Subject {
    pub fn of(der: &[u8]) -> Result<Self, CaError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|e| CaError::malformed("node certificate", e))?;
        let name = certificate.subject();
        let unit = text(name.iter_organizational_unit().next());
        let role = match unit.as_str() {
            MANAGER_UNIT => NodeRole::Manager,
            WORKER_UNIT => NodeRole::Worker,
            other => {
                let reason = format!("organizational unit '{other}' is no role");
                return Err(CaError::malformed("node certificate", reason));
            }
        };
        Ok(Self {
            node_id: common_name(name),
            role,
            cluster_id: text(name.iter_organization().next()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

fn common_name(name: &X509Name<'_>) -> String {
    text(name.iter_common_name().next())
}

fn text(attribute: Option<&x509_parser::prelude::AttributeTypeAndValue<'_>>) -> String {
    attribute.and_then(|a| a.as_str().ok()).unwrap_or_default().to_owned()
}
