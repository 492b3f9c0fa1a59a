//! The cluster's root: a key that signs every node's certificate, ECDSA P-256 unless the user brings another. The subject of
//! a certificate is decided here, whatever the request says.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DnType,
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

mod adopt;
mod cross;
#[cfg(test)]
mod tests;

/// Life of a root.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates are valid since before they were made, so that a clock that is behind by up to this accepts them.
pub const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// The root certificate, with its key where this node may sign.
#[derive(Clone)]
pub struct Root {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: Option<Zeroizing<String>>,
}

impl Root {
    /// A new root for a new cluster.
    pub fn generate(cluster_id: &str, now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(|e| CaError::malformed("root key", e))?;
        let key = Zeroizing::new(key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "swarm-ca");
        params.distinguished_name.push(DnType::OrganizationName, cluster_id);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::from(now) - BACKDATE;
        params.not_after = OffsetDateTime::from(now) + ROOT_LIFE;
        let certificate =
            params.self_signed(&*key).map_err(|e| CaError::malformed("root certificate", e))?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        Self::from_pem(&certificate.pem(), Some(&key_pem))
    }

    /// A root read from the store or from a remote; of several certificates the first.
    pub fn from_pem(certificate_pem: &str, key_pem: Option<&str>) -> Result<Self, CaError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| CaError::malformed("root certificate", e))?;
        Ok(Self {
            certificate_pem: to_pem(&certificate),
            certificate,
            key_pem: key_pem.map(|key| Zeroizing::new(key.to_owned())),
        })
    }

    /// All roots in `pem`, without keys.
    pub fn each_in(pem: &str) -> Result<Vec<Self>, CaError> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        let one = |certificate: Result<CertificateDer<'static>, _>| {
            let certificate = certificate
                .map_err(|e: rustls_pki_types::pem::Error| CaError::malformed("root", e))?;
            let certificate_pem = to_pem(&certificate);
            Ok(Self { certificate_pem, certificate, key_pem: None })
        };
        certificates.map(one).collect()
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
        digest_of(&self.certificate)
    }

    /// Signs the request's key for a node. Returns its certificate in PEM.
    pub fn issue(
        &self,
        csr_der: &[u8],
        node_id: &str,
        role: NodeRole,
        cluster_id: &str,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, CaError> {
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
        self.sign("node certificate", |issuer| params.signed_by(&request.public_key, issuer))
    }

    /// What `make` signs with this root's key, PEM. The key is read for this once and wiped.
    fn sign(
        &self,
        what: &'static str,
        make: impl FnOnce(&Issuer<'_, &KeyPair>) -> Result<Certificate, rcgen::Error>,
    ) -> Result<String, CaError> {
        let key_pem = self.key_pem.as_ref().ok_or(CaError::NoKey)?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| CaError::malformed("root key", e))?;
        let key = Zeroizing::new(key);
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*key)
            .map_err(|e| CaError::malformed("root certificate", e))?;
        Ok(make(&issuer).map_err(|e| CaError::malformed(what, e))?.pem())
    }
}

/// A certificate as text (RFC 7468): base 64 in lines of 64.
fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// What a join token says of a root.
pub(crate) fn digest_of(certificate: &CertificateDer<'_>) -> String {
    base36_digest(digest(&SHA256, certificate).as_ref())
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").field("digest", &self.digest()).finish_non_exhaustive()
    }
}
