//! A joiner's first steps, before it has a certificate: see the remote's root, hold it against the token, and only then open
//! a channel over which the token's secret may travel.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use swarm_api::GetRootCaRequest;
use swarm_api::node_ca_client::NodeCaClient;
use tonic::transport::Channel;

use crate::caller::MANAGER_UNIT;
use crate::credentials::{anonymous_tls, connect_lazily};
use crate::trust::{MAX_SKEW, Times, Trust, Verifier, only_tls13, provider};
use crate::{CaError, JoinToken, Root};

/// Fetches the root of the cluster at `addr` and checks it against `token`. Nothing secret is sent. A cluster that is
/// replacing its root shows both; the one that the token names counts.
pub async fn fetch_root(addr: &str, token: &JoinToken) -> Result<Root, CaError> {
    let verifier = Arc::new(AnyServer(provider()));
    let channel = connect_lazily(addr, MANAGER_UNIT, move || anonymous_tls(verifier.clone()))?;
    let unreachable = |status: tonic::Status| CaError::Unreachable {
        addr: addr.to_owned(),
        reason: innermost(&status),
    };
    let answer =
        NodeCaClient::new(channel).get_root_ca(GetRootCaRequest {}).await.map_err(unreachable)?;
    let mut roots = Root::each_in(&answer.into_inner().certificate_pem)?;
    match roots.iter().position(|root| root.digest() == token.digest()) {
        Some(index) => Ok(roots.swap_remove(index)),
        None => Err(CaError::WrongRoot {
            addr: addr.to_owned(),
            wanted: token.digest().to_owned(),
            found: roots.first().map(Root::digest).unwrap_or_default(),
        }),
    }
}

/// A channel to a manager of the cluster of `root`, without a certificate of our own.
pub async fn anonymous_channel(addr: &str, root: &Root) -> Result<Channel, CaError> {
    let trust = Arc::new(Trust::of(root.certificate_pem())?);
    // This host's clock may be ahead of the managers' by so much; if it is behind, their certificates are backdated.
    let ahead = i64::try_from(MAX_SKEW.as_secs()).unwrap_or(i64::MAX);
    let verifier = Arc::new(Verifier::new(trust, Times::Corrected(ahead), None));
    connect_lazily(addr, MANAGER_UNIT, move || anonymous_tls(verifier.clone()))
}

/// The deepest cause: "connection refused" rather than "transport error".
fn innermost(status: &tonic::Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match std::ptr::addr_eq(cause, status) {
        true => status.message().to_owned(),
        false => cause.to_string(),
    }
}

/// Accepts any server: only for looking at a root whose digest is then checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
