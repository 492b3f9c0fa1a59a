//! A root that the user brings. Everything that would break later is refused here, in one line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use swarm_api::NodeRole;
use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use super::cross::parse;
use super::{BACKDATE, Root};
use crate::trust::Trust;
use crate::{CaError, new_csr};

const CERTIFICATE: &str = "the CA certificate";
const KEY: &str = "the CA key";
/// The incumbent's rule: a root that ends soon would have to be rotated again at once.
const MIN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Root {
    /// The root that the user brings, if it can serve as one from `now` on for a year at least.
    pub fn adopt(certificate_pem: &str, key_pem: &str, now: SystemTime) -> Result<Self, CaError> {
        let certificates = CertificateDer::pem_slice_iter(certificate_pem.as_bytes());
        let certificates: Result<Vec<_>, _> = certificates.collect();
        match certificates.map_err(|e| CaError::malformed(CERTIFICATE, e))?.len() {
            1 => {}
            0 => return Err(CaError::malformed(CERTIFICATE, "there is no certificate in it")),
            n => {
                let text = format!("want one certificate, the root's own, found {n}");
                return Err(CaError::malformed(CERTIFICATE, text));
            }
        }
        let key = read_key(key_pem)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let root = Self::from_pem(certificate_pem, Some(&key_pem))
            .map_err(|e| CaError::malformed(CERTIFICATE, e))?;
        let parsed = parse(&root)?;
        check_purpose(&parsed)?;
        check_life(&parsed, now)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::malformed(KEY, "it is not the key of the CA certificate"));
        }
        root.prove(now)?;
        Ok(root)
    }

    /// Whether `other` has the same key: rotating to it would change nothing.
    pub fn has_key_of(&self, other: &Root) -> bool {
        match (parse(self), parse(other)) {
            (Ok(own), Ok(other)) => own.public_key().raw == other.public_key().raw,
            _ => false,
        }
    }

    /// Issues something and believes it, as nodes will.
    fn prove(&self, now: SystemTime) -> Result<(), CaError> {
        let (_, csr) = new_csr()?;
        let leaf = self.issue(&csr, "probe", NodeRole::Worker, "probe", BACKDATE, now)?;
        let leaf = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|e| CaError::malformed(CERTIFICATE, e))?;
        let unusable = |e: &dyn std::fmt::Display| {
            CaError::malformed(CERTIFICATE, format!("nodes would not believe it: {e}"))
        };
        let trust = Trust::of(&self.certificate_pem).map_err(|e| unusable(&e))?;
        trust.verify_apart_from_time(&[leaf]).map_err(|e| unusable(&e))
    }
}

fn read_key(key_pem: &str) -> Result<Zeroizing<KeyPair>, CaError> {
    if key_pem.contains("ENCRYPTED") {
        return Err(CaError::malformed(KEY, "it is encrypted: decrypt it first"));
    }
    // The parser's own words could repeat what it read.
    let unread = |_| {
        let text = "want a private key in PEM: PKCS#8, SEC 1 or PKCS#1; ECDSA, RSA or Ed25519";
        CaError::malformed(KEY, text)
    };
    KeyPair::from_pem(key_pem).map(Zeroizing::new).map_err(unread)
}

fn check_purpose(certificate: &X509Certificate<'_>) -> Result<(), CaError> {
    let broken = |e| CaError::malformed(CERTIFICATE, e);
    let basic = certificate.basic_constraints().map_err(broken)?;
    if !basic.is_some_and(|b| b.value.ca) {
        let text = "it is not a certificate authority's (basic constraints do not say CA)";
        return Err(CaError::malformed(CERTIFICATE, text));
    }
    let usage = certificate.key_usage().map_err(broken)?;
    match usage.is_none_or(|u| u.value.key_cert_sign()) {
        true => Ok(()),
        false => Err(CaError::malformed(CERTIFICATE, "its key usage forbids to sign certificates")),
    }
}

fn check_life(certificate: &X509Certificate<'_>, now: SystemTime) -> Result<(), CaError> {
    let validity = certificate.validity();
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let refused = |text: String| Err(CaError::malformed(CERTIFICATE, text));
    if validity.not_after.timestamp() <= seconds(now) {
        return refused(format!("it expired on {}", validity.not_after));
    }
    // A clock that is behind is no reason.
    if validity.not_before.timestamp() > seconds(now + BACKDATE) {
        return refused(format!("it is not valid before {}", validity.not_before));
    }
    if validity.not_after.timestamp() < seconds(now + MIN_LIFE) {
        let end = validity.not_after;
        return refused(format!("it must be valid for a year at least, and ends on {end}"));
    }
    Ok(())
}
