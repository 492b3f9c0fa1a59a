//! TLS 1.3 settings and channels from a node's identity. New connections use the newest identity, so a renewed certificate
//! and changed roots need no restart; accepted connections of whom the newest roots do not believe are ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::caller::MANAGER_UNIT;
use crate::register::Register;
use crate::trust::{Times, Verifier, provider};
use crate::{CaError, Caller, Identity};

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
    register: Register,
    changes: watch::Sender<()>,
}

impl Credentials {
    /// Credentials of `identity`.
    pub fn new(identity: Identity) -> Self {
        let shared = Arc::new(ArcSwap::from_pointee(identity));
        Self { shared, register: Register::default(), changes: watch::Sender::new(()) }
    }

    /// The newest identity.
    pub fn identity(&self) -> Arc<Identity> {
        self.shared.load_full()
    }

    /// Tells when the identity is replaced.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Uses `identity` for every connection from now on. Accepted connections whose certificates do not lead to its roots
    /// end.
    pub fn replace(&self, identity: Identity) {
        let trust = identity.trust();
        let before = self.shared.swap(Arc::new(identity));
        self.changes.send_replace(());
        if before.trust().digests() != trust.digests() {
            self.register.close(|_, chain| {
                !chain.is_empty() && trust.verify_apart_from_time(chain).is_err()
            });
        }
    }

    /// Ends the accepted connections of the callers that are `unwanted`. Tells how many.
    pub fn disconnect(&self, unwanted: impl Fn(&Caller) -> bool) -> usize {
        self.register.close(|caller, _| unwanted(caller))
    }

    /// The connections that were accepted and are open.
    pub(crate) fn register(&self) -> &Register {
        &self.register
    }

    /// For a listener: a client's certificate is asked for and, if shown, must be of a root of ours and of our cluster.
    pub fn server_tls(&self) -> Result<Arc<ServerConfig>, CaError> {
        let identity = self.identity();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| CaError::malformed("tls settings", e))?
            .with_client_cert_verifier(verifier(&identity))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Nobody comes back without showing its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
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

    pub(crate) fn client_tls(&self) -> Result<ClientConfig, CaError> {
        let identity = self.identity();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| CaError::malformed("tls settings", e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(&identity))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
        Ok(config)
    }
}

/// Believes the members of the identity's cluster, by its clock and roots.
fn verifier(identity: &Identity) -> Arc<Verifier> {
    let times = Times::Corrected(identity.clock_offset());
    Arc::new(Verifier::new(identity.trust(), times, Some(&identity.cluster_id)))
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
