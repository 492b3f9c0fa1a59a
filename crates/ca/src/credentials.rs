//! TLS 1.3 settings and channels from a node's identity. New connections use the newest identity, so a renewed certificate
//! needs no restart.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::caller::MANAGER_UNIT;
use crate::{CaError, Identity};

/// How long a connection may take to be made: longer than a handshake over a bad line, shorter than an election.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent connection is probed this often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and given up when no answer came for this long, so that a cut line is noticed within seconds.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A node's identity as its connections use it.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<ArcSwap<Identity>>,
}

impl Credentials {
    /// Credentials of `identity`.
    pub fn new(identity: Identity) -> Self {
        Self { shared: Arc::new(ArcSwap::from_pointee(identity)) }
    }

    /// The newest identity.
    pub fn identity(&self) -> Arc<Identity> {
        self.shared.load_full()
    }

    /// Uses `identity` for every connection from now on.
    pub fn replace(&self, identity: Identity) {
        self.shared.store(Arc::new(identity));
    }

    /// For a listener: a client's certificate is asked for and, if shown, must be of our root.
    pub fn server_tls(&self) -> Result<Arc<ServerConfig>, CaError> {
        let identity = self.identity();
        let roots = Arc::new(root_store(&identity.root_pem)?);
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|e| CaError::malformed("client verifier", e))?;
        let (chain, key) = key_material(&identity)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| CaError::malformed("tls settings", e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|e| CaError::malformed("node certificate", e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// A channel to a manager at `addr` (host:port). Connects when first used, and again when broken.
    pub fn channel(&self, addr: &str) -> Result<Channel, CaError> {
        self.named_channel(addr, MANAGER_UNIT)
    }

    /// A channel to the node `node_id` and no other.
    pub fn peer_channel(&self, addr: &str, node_id: &str) -> Result<Channel, CaError> {
        self.named_channel(addr, node_id)
    }

    fn named_channel(&self, addr: &str, name: &str) -> Result<Channel, CaError> {
        let credentials = self.clone();
        connect_lazily(addr, name, move || credentials.client_tls())
    }

    fn client_tls(&self) -> Result<ClientConfig, CaError> {
        let identity = self.identity();
        let (chain, key) = key_material(&identity)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| CaError::malformed("tls settings", e))?
            .with_root_certificates(root_store(&identity.root_pem)?)
            .with_client_auth_cert(chain, key)
            .map_err(|e| CaError::malformed("node certificate", e))?;
        Ok(config)
    }
}

/// Settings of a client that has no certificate and trusts what `verifier` trusts.
pub(crate) fn anonymous_tls(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, CaError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| CaError::malformed("tls settings", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// A channel that makes each connection with the settings `tls` gives at that time.
pub(crate) fn connect_lazily(
    addr: &str,
    name: &str,
    tls: impl Fn() -> Result<ClientConfig, CaError> + Clone + Send + Sync + 'static,
) -> Result<Channel, CaError> {
    let name =
        ServerName::try_from(name.to_owned()).map_err(|e| CaError::malformed("server name", e))?;
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(|e| CaError::malformed("address", format!("\"{addr}\": {e}")))?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let target: Arc<str> = addr.into();
    let connector = service_fn(move |_: Uri| {
        let (target, name, tls) = (target.clone(), name.clone(), tls.clone());
        async move {
            let connected = timeout(CONNECT_TIMEOUT, connect(&target, name, tls())).await;
            connected.unwrap_or_else(|_| Err(no_answer())).map(TokioIo::new)
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}"))
}

async fn connect(
    addr: &str,
    name: ServerName<'static>,
    tls: Result<ClientConfig, CaError>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut config = tls.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(crate) fn root_store(root_pem: &str) -> Result<RootCertStore, CaError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
        let certificate = certificate.map_err(|e| CaError::malformed("root certificate", e))?;
        store.add(certificate).map_err(|e| CaError::malformed("root certificate", e))?;
    }
    Ok(store)
}

type KeyMaterial = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn key_material(identity: &Identity) -> Result<KeyMaterial, CaError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| CaError::malformed("node certificate", e))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|e| CaError::malformed("node key", e))?;
    Ok((chain, key))
}
