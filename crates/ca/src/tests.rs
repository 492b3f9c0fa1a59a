//! Real connections over loopback: who is let in, who is not, and who has to go.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use swarm_api::NodeRole;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::credentials::anonymous_tls;
use crate::trust::{Times, Trust, Verifier, provider};
use crate::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

struct Made {
    node: &'static str,
    role: NodeRole,
    cluster: &'static str,
    life: Duration,
    /// The issuer's clock.
    issued: SystemTime,
    /// The node's own clock when it came.
    received: SystemTime,
}

impl Made {
    fn new(node: &'static str, role: NodeRole) -> Self {
        let now = SystemTime::now();
        Self { node, role, cluster: "c1", life: DAY, issued: now, received: now }
    }

    fn by(&self, root: &Root) -> Credentials {
        let (key, csr) = new_csr().unwrap();
        let Self { node, role, cluster, life, issued, received } = *self;
        let pem = root.issue(&csr, node, role, cluster, life, issued).unwrap();
        let identity = Identity::new(pem, key, root.certificate_pem().into()).unwrap();
        Credentials::new(identity.received(received))
    }
}

fn root() -> Root {
    Root::generate("c1", SystemTime::now()).unwrap()
}

fn manager(root: &Root) -> Credentials {
    Made::new("m1", NodeRole::Manager).by(root)
}

fn worker(root: &Root) -> Credentials {
    Made::new("w1", NodeRole::Worker).by(root)
}

/// One connection from a client with `tls` to a server with `server`: what the server sees, and the client's end.
async fn connect(
    server: &Credentials,
    tls: ClientConfig,
    name: &str,
) -> (Result<Connection, CaError>, io::Result<tokio_rustls::client::TlsStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        Connection::accept(server, tcp).await
    };
    let connect = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tcp = TcpStream::connect(addr).await?;
        let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
        // The server's verdict on the client comes after the client's own handshake is done.
        stream.write_all(b"?").await?;
        Ok(stream)
    };
    tokio::join!(accept, connect)
}

/// Who the server sees, or why there is no connection.
async fn meet(server: &Credentials, client: &Credentials, name: &str) -> Result<Caller, String> {
    let (accepted, connected) = connect(server, client.client_tls().unwrap(), name).await;
    connected.map_err(|e| format!("client: {e}"))?;
    use tonic::transport::server::Connected;
    accepted.map(|c| c.connect_info()).map_err(|e| format!("server: {e}"))
}

#[tokio::test]
async fn members_of_a_cluster_know_each_other_by_id_and_role() {
    let root = root();
    let caller = meet(&manager(&root), &worker(&root), "swarm-manager").await.unwrap();
    let cluster_id = "c1".to_owned();
    let wanted = Caller::Node { node_id: "w1".into(), role: NodeRole::Worker, cluster_id };
    assert_eq!(caller, wanted);
    meet(&manager(&root), &worker(&root), "m1").await.unwrap();
}

#[tokio::test]
async fn a_worker_is_no_manager_and_no_node_is_another() {
    let root = root();
    let refused = meet(&worker(&root), &manager(&root), "swarm-manager").await.unwrap_err();
    assert!(refused.starts_with("client: ") && refused.contains("not valid for name"), "{refused}");
    let refused = meet(&manager(&root), &worker(&root), "m2").await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    // Its name would do; its role does not.
    let odd = Made::new("swarm-manager", NodeRole::Worker).by(&root);
    let refused = meet(&odd, &manager(&root), "swarm-manager").await.unwrap_err();
    assert!(refused.contains("node swarm-manager is not a manager"), "{refused}");
}

#[tokio::test]
async fn a_certificate_of_another_root_or_another_cluster_is_refused_on_both_sides() {
    let (own, foreign) = (root(), root());
    let refused = meet(&manager(&own), &worker(&foreign), "swarm-manager").await.unwrap_err();
    assert!(refused.starts_with("client: "), "{refused}");
    // Both trust both roots: only the clusters differ.
    let stranger = Made { cluster: "c2", ..Made::new("x", NodeRole::Manager) };
    let refused = meet(&stranger.by(&own), &worker(&own), "swarm-manager").await.unwrap_err();
    assert!(refused.contains("the certificate is of swarm c2, this is swarm c1"), "{refused}");
    // A client that does not look at the cluster is looked at by the server.
    let tls = stranger.by(&own).client_tls().unwrap();
    let (accepted, _) = connect(&manager(&own), tls, "swarm-manager").await;
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_server_looks_at_the_cluster_of_a_client_that_trusts_it() {
    let root = root();
    let stranger = Made { cluster: "c2", ..Made::new("x", NodeRole::Manager) }.by(&root);
    let trust = Arc::new(Trust::of(root.certificate_pem()).unwrap());
    let credulous = Arc::new(Verifier::new(trust, Times::Any, None));
    let tls = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(credulous)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            stranger.identity().certified(),
        )));
    let (accepted, _) = connect(&manager(&root), tls, "swarm-manager").await;
    let refused = accepted.err().unwrap().to_string();
    assert!(refused.contains("the certificate is of swarm c2, this is swarm c1"), "{refused}");
}

#[tokio::test]
async fn who_shows_no_certificate_is_anonymous() {
    let root = root();
    let trust = Arc::new(Trust::of(root.certificate_pem()).unwrap());
    let verifier = Arc::new(Verifier::new(trust, Times::Corrected(0), None));
    let tls = anonymous_tls(verifier).unwrap();
    let (accepted, connected) = connect(&manager(&root), tls, "swarm-manager").await;
    connected.unwrap();
    use tonic::transport::server::Connected;
    assert_eq!(accepted.unwrap().connect_info(), Caller::Anonymous);
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let root = root();
    let mut roots = RootCertStore::empty();
    let pem = root.certificate_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    for (version, welcome) in [(&TLS12, false), (&TLS13, true)] {
        let tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let (accepted, connected) = connect(&manager(&root), tls, "swarm-manager").await;
        assert_eq!((accepted.is_ok(), connected.is_ok()), (welcome, welcome), "{version:?}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let root = root();
    let then = SystemTime::now() - DAY * 9;
    let old = |node, role| Made { issued: then, received: then, ..Made::new(node, role) }.by(&root);
    for (server, client) in [
        (old("m1", NodeRole::Manager), worker(&root)),
        (manager(&root), old("w1", NodeRole::Worker)),
    ] {
        let refused = meet(&server, &client, "swarm-manager").await.unwrap_err();
        assert!(refused.to_lowercase().contains("expired"), "{refused}");
    }
}

#[tokio::test]
async fn clocks_that_differ_by_a_day_do_not_hinder_even_certificates_of_an_hour() {
    let root = root();
    let now = SystemTime::now();
    // The host's clock is the one that is right here; so it is the cluster's that differs.
    for cluster in [now, now - (DAY - HOUR), now + (DAY - HOUR)] {
        let made = |node, role| {
            Made { life: HOUR, issued: cluster, received: now, ..Made::new(node, role) }.by(&root)
        };
        let (server, client) = (made("m1", NodeRole::Manager), made("w1", NodeRole::Worker));
        meet(&server, &client, "swarm-manager").await.unwrap();
        // A joiner knows no difference yet.
        let trust = Arc::new(Trust::of(root.certificate_pem()).unwrap());
        let ahead = Times::Corrected(MAX_SKEW.as_secs().try_into().unwrap());
        let tls = anonymous_tls(Arc::new(Verifier::new(trust, ahead, None))).unwrap();
        connect(&server, tls, "swarm-manager").await.1.unwrap();
    }
}

#[tokio::test]
async fn connections_of_who_is_refused_from_now_on_end() {
    let root = root();
    let server = manager(&root);
    let tls = || worker(&root).client_tls().unwrap();
    let (accepted, connected) = connect(&server, tls(), "swarm-manager").await;
    let (mut accepted, _client) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.read_u8().await.unwrap(), b'?');
    let is = |caller: &Caller, id: &str| match caller {
        Caller::Node { node_id, .. } => node_id == id,
        _ => false,
    };
    let of = |id: &'static str| move |caller: &Caller| is(caller, id);
    assert_eq!(server.disconnect(of("w2")), 0);
    assert_eq!(server.disconnect(of("w1")), 1);
    let ended = accepted.read_u8().await.unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
    assert!(accepted.write_all(b"!").await.is_err());
    drop(accepted);
    assert_eq!(server.disconnect(of("w1")), 0, "it is forgotten");
}

#[tokio::test]
async fn connections_under_a_root_that_is_no_longer_trusted_end_and_others_stay() {
    let (old, new) = (root(), root());
    let server = manager(&old);
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    server.replace(server.identity().with_roots(&both).unwrap());
    let trusting = |credentials: Credentials| {
        credentials.replace(credentials.identity().with_roots(&both).unwrap());
        credentials.client_tls().unwrap()
    };
    let (former, _a) = connect(&server, trusting(worker(&old)), "swarm-manager").await;
    let (renewed, _b) = connect(&server, trusting(worker(&new)), "swarm-manager").await;
    let (mut former, mut renewed) = (former.unwrap(), renewed.unwrap());
    server.replace(server.identity().with_roots(new.certificate_pem()).unwrap());
    assert_eq!(former.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(renewed.read_u8().await.unwrap(), b'?');
}
