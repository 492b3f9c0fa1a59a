//! The cluster's root: an ECDSA P-256 key that signs every node's certificate. The subject of a certificate is decided here,
//! whatever the request says.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use swarm_api::NodeRole;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::CaError;
use crate::caller::unit_of;
use crate::token::base36_digest;

/// Life of a root.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates are valid since before they were made, so that a clock that is behind by up to this accepts them.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// The root certificate, with its key where this node may sign.
pub struct Root {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: Option<Zeroizing<String>>,
}

impl Root {
    /// A new root for a new cluster.
    pub fn generate(cluster_id: &str, now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(|e| CaError::malformed("root key", e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "swarm-ca");
        params.distinguished_name.push(DnType::OrganizationName, cluster_id);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::from(now) - BACKDATE;
        params.not_after = OffsetDateTime::from(now) + ROOT_LIFE;
        let certificate =
            params.self_signed(&key).map_err(|e| CaError::malformed("root certificate", e))?;
        Self::from_pem(&certificate.pem(), Some(&key.serialize_pem()))
    }

    /// A root read from the store or from a remote.
    pub fn from_pem(certificate_pem: &str, key_pem: Option<&str>) -> Result<Self, CaError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| CaError::malformed("root certificate", e))?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            certificate,
            key_pem: key_pem.map(|key| Zeroizing::new(key.to_owned())),
        })
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, PKCS#8 PEM, where this node holds it.
    pub fn key_pem(&self) -> Option<&str> {
        self.key_pem.as_ref().map(|key| key.as_str())
    }

    /// SHA-256 of the certificate's DER in 50 characters of base 36: what a join token pins.
    pub fn digest(&self) -> String {
        base36_digest(digest(&SHA256, &self.certificate).as_ref())
    }

    /// Signs the request's key for a node. Returns the chain in PEM, leaf first.
    pub fn issue(
        &self,
        csr_der: &[u8],
        node_id: &str,
        role: NodeRole,
        cluster_id: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, CaError> {
        let key_pem = self.key_pem.as_ref().ok_or(CaError::NoKey)?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| CaError::malformed("root key", e))?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, key)
            .map_err(|e| CaError::malformed("root certificate", e))?;
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
                .map_err(|e| CaError::malformed("certificate request", e))?;
        let names = vec![unit_of(role).to_owned(), node_id.to_owned()];
        let mut params =
            CertificateParams::new(names).map_err(|e| CaError::malformed("node id", e))?;
        params.distinguished_name.push(DnType::CommonName, node_id);
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit_of(role));
        params.distinguished_name.push(DnType::OrganizationName, cluster_id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = OffsetDateTime::from(now) - BACKDATE;
        params.not_after = OffsetDateTime::from(now) + validity;
        let certificate = params
            .signed_by(&request.public_key, &issuer)
            .map_err(|e| CaError::malformed("node certificate", e))?;
        Ok(certificate.pem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Subject;
    use crate::new_csr;

    #[test]
    fn the_subject_is_what_the_root_says_not_what_the_request_says() {
        let now = SystemTime::now();
        let root = Root::generate("c1", now).unwrap();
        let (_, csr) = new_csr().unwrap();
        let year = Duration::from_secs(365 * 24 * 3600);
        let pem = root.issue(&csr, "n1", NodeRole::Manager, "c1", year, now).unwrap();
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let subject = Subject::of(&leaf).unwrap();
        assert_eq!((subject.node_id.as_str(), subject.cluster_id.as_str()), ("n1", "c1"));
        assert_eq!(subject.role, NodeRole::Manager);
    }

    #[test]
    fn a_request_that_was_tampered_with_is_refused() {
        let now = SystemTime::now();
        let root = Root::generate("c1", now).unwrap();
        let (_, mut csr) = new_csr().unwrap();
        let last = csr.len() - 1;
        csr[last] ^= 1;
        let hour = Duration::from_secs(3600);
        assert!(root.issue(&csr, "n1", NodeRole::Worker, "c1", hour, now).is_err());
    }

    #[test]
    fn a_root_without_its_key_signs_nothing() {
        let now = SystemTime::now();
        let whole = Root::generate("c1", now).unwrap();
        let public = Root::from_pem(whole.certificate_pem(), None).unwrap();
        let (_, csr) = new_csr().unwrap();
        let hour = Duration::from_secs(3600);
        let result = public.issue(&csr, "n1", NodeRole::Worker, "c1", hour, now);
        assert!(matches!(result, Err(CaError::NoKey)));
        assert_eq!(public.digest(), whole.digest());
    }
}
