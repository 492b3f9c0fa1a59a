//! Whom a node believes: the roots it trusts, and what it checks of the certificate at the other end. Both sides of every
//! connection are checked here, for chain, name, role and cluster.
//!
//! Clocks differ. Time is read from the host's clock, and from that clock as corrected by the difference to the managers' that
//! was seen when the own certificate was issued: a certificate that is valid at either is valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use swarm_api::NodeRole;

use crate::CaError;
use crate::caller::{MANAGER_UNIT, Subject};
use crate::root::digest_of;

/// Clocks may differ by this much.
pub const MAX_SKEW: Duration = Duration::from_secs(24 * 3600);

/// The roots that a node trusts.
pub(crate) struct Trust {
    roots: Vec<(String, RootCertStore)>,
    all: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// From certificates in PEM.
    pub fn of(pem: &str) -> Result<Self, CaError> {
        let broken = |e: &dyn std::fmt::Display| CaError::malformed("root certificate", e);
        let (mut roots, mut all) = (Vec::new(), RootCertStore::empty());
        for certificate in chain_of(pem)? {
            let mut alone = RootCertStore::empty();
            alone.add(certificate.clone()).map_err(|e| broken(&e))?;
            all.roots.extend(alone.roots.iter().cloned());
            roots.push((digest_of(&certificate), alone));
        }
        if roots.is_empty() {
            return Err(broken(&"there is none"));
        }
        Ok(Self { roots, all, provider: provider() })
    }

    /// Digests of the roots, in their order.
    pub fn digests(&self) -> Vec<String> {
        self.roots.iter().map(|(digest, _)| digest.clone()).collect()
    }

    /// Digest of the trusted root whose own key signed `leaf`.
    pub fn issuer(&self, leaf: &CertificateDer<'_>) -> Option<String> {
        let signed = |root: &RootCertStore| {
            within_life(leaf).and_then(|at| self.follow(root, leaf, &[], at)).is_ok()
        };
        self.roots.iter().find(|(_, root)| signed(root)).map(|(digest, _)| digest.clone())
    }

    /// Whether `chain`, leaf first, leads to a trusted root, whatever time it is.
    pub fn verify_apart_from_time(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let none = Error::InvalidCertificate(CertificateError::BadEncoding);
        let (leaf, rest) = chain.split_first().ok_or(none)?;
        self.follow(&self.all, leaf, rest, within_life(leaf)?)
    }

    fn follow(
        &self,
        roots: &RootCertStore,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        // Node certificates serve on either side, so one purpose is as good as the other.
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, at, algorithms)
    }
}

/// The last moment of a certificate's life: what signed it was alive then.
fn within_life(leaf: &CertificateDer<'_>) -> Result<UnixTime, Error> {
    let subject = Subject::of(leaf).map_err(|e| Error::General(e.to_string()))?;
    let last = u64::try_from(subject.not_after - 1).unwrap_or(0);
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(last)))
}

/// At what times a certificate may be valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    /// Now by the host's clock, or by that clock put back by so many seconds.
    Corrected(i64),
    /// At any time: only its signatures count.
    Any,
}

/// Checks who is at the other end.
pub(crate) struct Verifier {
    trust: Arc<Trust>,
    times: Times,
    /// `None`: not known yet.
    cluster_id: Option<String>,
}

impl Verifier {
    /// Believes members of `cluster_id`.
    pub fn new(trust: Arc<Trust>, times: Times, cluster_id: Option<&str>) -> Self {
        Self { trust, times, cluster_id: cluster_id.map(str::to_owned) }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Subject, Error> {
        match self.times {
            Times::Any => {
                let at = within_life(leaf)?;
                self.trust.follow(&self.trust.all, leaf, intermediates, at)?;
            }
            Times::Corrected(offset) => self.check_now(leaf, intermediates, now, offset)?,
        }
        let subject = Subject::of(leaf).map_err(|e| Error::General(e.to_string()))?;
        match &self.cluster_id {
            Some(own) if *own != subject.cluster_id => Err(Error::General(format!(
                "the certificate is of swarm {}, this is swarm {own}",
                subject.cluster_id
            ))),
            _ => Ok(subject),
        }
    }

    fn check_now(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        offset: i64,
    ) -> Result<(), Error> {
        let roots = &self.trust.all;
        let first = self.trust.follow(roots, leaf, intermediates, now);
        match first {
            Err(error) if is_of_time(&error) && offset != 0 => {
                let now = now.as_secs().saturating_add_signed(offset.saturating_neg());
                let corrected = UnixTime::since_unix_epoch(Duration::from_secs(now));
                // The first error speaks of the clock that the user sees.
                let again = self.trust.follow(roots, leaf, intermediates, corrected);
                again.map_err(|_| error)
            }
            other => other,
        }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.trust.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_of_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let subject = self.check(leaf, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        let wants_manager = matches!(name, ServerName::DnsName(n) if n.as_ref() == MANAGER_UNIT);
        if wants_manager && subject.role != NodeRole::Manager {
            return Err(Error::General(format!("node {} is not a manager", subject.node_id)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        // A joiner has none yet. Which calls that allows is for each call to say.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

/// What is said to TLS 1.2, which no connection here speaks.
pub(crate) fn only_tls13() -> Error {
    PeerIncompatible::Tls12NotOffered.into()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Certificates in PEM, in their order.
pub(crate) fn chain_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let each = CertificateDer::pem_slice_iter(pem.as_bytes());
    each.collect::<Result<_, _>>().map_err(|e| CaError::malformed("certificate", e))
}

/// How far the clock at `local` is ahead of the one at `remote`, whole seconds, no more than [`MAX_SKEW`] either way.
pub(crate) fn offset(local: SystemTime, remote: SystemTime) -> i64 {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let most = i64::try_from(MAX_SKEW.as_secs()).unwrap_or(i64::MAX);
    (seconds(local) - seconds(remote)).clamp(-most, most)
}
