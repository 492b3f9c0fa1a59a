//! Managers over real TLS connections on loopback.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use swarm_api::control_client::ControlClient;
use swarm_api::node_ca_client::NodeCaClient;
use swarm_api::whereabouts_server::WhereaboutsServer;
use swarm_api::*;
use swarm_ca::{Connection, Identity, JoinToken, Root, anonymous_channel, fetch_root, new_csr};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Server};

use super::*;

mod callers;
mod identity;
mod moving;
mod retrying;

/// What the node crate answers with, for a manager without a node.
struct Place(Manager);

#[tonic::async_trait]
impl whereabouts_server::Whereabouts for Place {
    async fn announce(
        &self,
        request: tonic::Request<AnnounceRequest>,
    ) -> Result<tonic::Response<AnnounceResponse>, tonic::Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        self.0.heard(&caller, &request.into_inner().addr)?;
        let inner = &self.0.0;
        let places = inner.herald.book.places().into_iter();
        Ok(tonic::Response::new(AnnounceResponse {
            node_id: inner.credentials.identity().node_id.clone(),
            addr: inner.herald.own.clone(),
            managers: places.map(|(node_id, addr)| ManagerPlace { node_id, addr }).collect(),
        }))
    }
}

/// A manager that serves; stops when dropped.
struct Host {
    manager: Manager,
    credentials: Credentials,
    addr: SocketAddr,
    dir: tempfile::TempDir,
    serving: CancellationToken,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.cancel();
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Accepts until cancelled, as a node does.
fn serve(manager: &Manager, credentials: &Credentials, listener: TcpListener) -> CancellationToken {
    let serving = CancellationToken::new();
    let (sender, connections) = tokio::sync::mpsc::channel(16);
    let credentials = credentials.clone();
    let accept = async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (sender, credentials) = (sender.clone(), credentials.clone());
            tokio::spawn(async move {
                if let Ok(connection) = Connection::accept(&credentials, tcp).await {
                    let _ = sender.send(Ok::<_, std::io::Error>(connection)).await;
                }
            });
        }
    };
    tokio::spawn(serving.clone().run_until_cancelled_owned(accept));
    let server = Server::builder()
        .add_routes(manager.routes())
        .add_service(WhereaboutsServer::new(Place(manager.clone())))
        .serve_with_incoming(ReceiverStream::new(connections));
    tokio::spawn(serving.clone().run_until_cancelled_owned(server));
    serving
}

fn config(credentials: &Credentials, dir: &tempfile::TempDir, addr: SocketAddr) -> ManagerConfig {
    ManagerConfig {
        credentials: credentials.clone(),
        state_dir: dir.path().to_owned(),
        advertise_addr: addr.to_string(),
        data_keys: [7; 32].into(),
        clock: Clock::system(),
        keeping: None,
        book: AddressBook::open(&dir.path().join("addresses")),
    }
}

async fn first() -> Host {
    let (cluster_id, node_id) = (id::random_id(), id::random_id());
    let (now, life) = (SystemTime::now(), Duration::from_secs(86_400));
    let root = Root::generate(&cluster_id, now).unwrap();
    let (key, csr) = new_csr().unwrap();
    let certificate =
        root.issue(&csr, &node_id, NodeRole::Manager, &cluster_id, life, now).unwrap();
    let identity = Identity::new(certificate, key, root.certificate_pem().into()).unwrap();
    let credentials = Credentials::new(identity);
    let seed = ClusterSeed {
        root,
        cluster_id,
        node_id,
        hostname: "m1".into(),
        availability: NodeAvailability::Active,
        default_addr_pool: Vec::new(),
        subnet_size: 0,
        data_path_port: 0,
    };
    let dir = tempfile::tempdir().unwrap();
    let (listener, addr) = listen().await;
    let mode = Mode::Bootstrap(Box::new(seed));
    let manager = Manager::start(config(&credentials, &dir, addr), mode).await.unwrap();
    let serving = serve(&manager, &credentials, listener);
    Host { manager, credentials, addr, dir, serving }
}

/// Joins as a manager through `remote`, by token.
async fn join(remote: &Host, token: &str) -> Host {
    let token: JoinToken = token.parse().unwrap();
    let root = fetch_root(&remote.addr.to_string(), &token).await.unwrap();
    let channel = anonymous_channel(&remote.addr.to_string(), &root).await.unwrap();
    let (key, csr_der) = new_csr().unwrap();
    let request = IssueCertificateRequest {
        csr_der,
        token: token.to_string(),
        hostname: "joiner".into(),
        ..IssueCertificateRequest::default()
    };
    let answer = NodeCaClient::new(channel).issue_certificate(request).await.unwrap().into_inner();
    let identity = Identity::new(answer.certificate_pem, key, answer.root_ca_pem).unwrap();
    let credentials = Credentials::new(identity);
    let dir = tempfile::tempdir().unwrap();
    let (listener, addr) = listen().await;
    let mode = Mode::Join { remotes: vec![remote.addr.to_string()] };
    let manager = Manager::start(config(&credentials, &dir, addr), mode).await.unwrap();
    let serving = serve(&manager, &credentials, listener);
    manager.ready(PATIENCE).await.unwrap();
    Host { manager, credentials, addr, dir, serving }
}

impl Host {
    fn control(&self) -> ControlClient<Channel> {
        let channel = self.credentials.channel(&self.addr.to_string()).unwrap();
        ControlClient::new(channel)
    }

    async fn manager_token(&self) -> String {
        let ask = async || self.control().get_cluster(GetClusterRequest {}).await;
        let cluster = until(ask).await;
        let root_ca = cluster.into_inner().cluster.unwrap().root_ca.unwrap();
        assert!(root_ca.key_pem.is_empty());
        root_ca.join_tokens.unwrap().manager
    }

    async fn nodes(&self) -> Result<Vec<Node>, tonic::Status> {
        let answer = self.control().list_nodes(ListNodesRequest::default()).await?;
        Ok(answer.into_inner().nodes)
    }

    async fn add_secret(&self, name: &str) -> Result<(), tonic::Status> {
        let annotations = Some(Annotations { name: name.into(), ..Annotations::default() });
        let spec = Some(SecretSpec { annotations, data: b"hidden".to_vec() });
        let request = CreateSecretRequest { spec, request_id: name.into() };
        self.control().create_secret(request).await.map(|_| ())
    }

    fn node_id(&self) -> String {
        self.credentials.identity().node_id.clone()
    }

    /// Starts again, on another port of the same host.
    async fn start_elsewhere(&mut self) {
        let (listener, addr) = listen().await;
        let remotes = Vec::new();
        let config = config(&self.credentials, &self.dir, addr);
        self.manager = Manager::start(config, Mode::Restart { remotes }).await.unwrap();
        self.addr = addr;
        self.serving = serve(&self.manager, &self.credentials, listener);
    }

    async fn stop(&self) {
        // Its listener last: it must hear that another leads before it goes.
        self.manager.shutdown().await;
        self.serving.cancel();
    }
}

/// Repeats `attempt` until it succeeds.
async fn until<T, E: std::fmt::Display>(attempt: impl AsyncFn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn demote(host: &Host, node_id: &str) -> Result<(), tonic::Status> {
    let request = GetNodeRequest { node: node_id.to_owned() };
    let node = host.control().get_node(request).await?.into_inner().node.unwrap();
    let mut spec = node.spec.unwrap();
    spec.set_desired_role(NodeRole::Worker);
    let version = node.meta.unwrap().version;
    let demotion = UpdateNodeRequest { node_id: node.id, version, spec: Some(spec) };
    host.control().update_node(demotion).await.map(|_| ())
}

async fn role_is(host: &Host, node_id: &str, role: NodeRole) -> Result<(), String> {
    let nodes = host.nodes().await.map_err(|s| s.to_string())?;
    let node = nodes.iter().find(|n| n.id == node_id).ok_or("no such node")?;
    (node.role() == role).then_some(()).ok_or_else(|| format!("role is {:?}", node.role()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_answers_through_the_leader_and_takes_over_from_it() {
    let first = first().await;
    let token = first.manager_token().await;
    let second = join(&first, &token).await;
    let third = join(&second, &token).await;
    // Asked at a follower, written by the leader.
    until(|| third.add_secret("one")).await;
    let nodes = until(|| second.nodes()).await;
    let leaders = nodes.iter().filter(|n| n.manager_status.as_ref().is_some_and(|s| s.leader));
    assert_eq!((nodes.len(), leaders.count()), (3, 1));
    first.stop().await;
    until(|| second.add_secret("two")).await;
    let list = async || third.control().list_secrets(ListSecretsRequest::default()).await;
    assert_eq!(until(list).await.into_inner().secrets.len(), 2);
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_is_started_again_has_its_cluster_back() {
    let mut host = first().await;
    host.add_secret("one").await.unwrap();
    host.stop().await;
    let (listener, addr) = listen().await;
    let config = config(&host.credentials, &host.dir, addr);
    let mode = Mode::Restart { remotes: vec![addr.to_string()] };
    host.manager = Manager::start(config, mode).await.unwrap();
    host.addr = addr;
    host.serving = serve(&host.manager, &host.credentials, listener);
    host.manager.ready(PATIENCE).await.unwrap();
    until(|| host.add_secret("two")).await;
    let secrets = host.control().list_secrets(ListSecretsRequest::default()).await.unwrap();
    assert_eq!(secrets.into_inner().secrets.len(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_leaves_the_group_and_may_no_longer_operate() {
    let first = first().await;
    let token = first.manager_token().await;
    let second = join(&first, &token).await;
    let third = join(&first, &token).await;
    let leaver = third.credentials.identity().node_id.clone();
    until(|| demote(&first, &leaver)).await;
    until(|| role_is(&first, &leaver, NodeRole::Worker)).await;
    assert_eq!(first.manager.managers().len(), 2);
    // Its certificate still says manager; the store knows better.
    let mut control =
        ControlClient::new(third.credentials.channel(&first.addr.to_string()).unwrap());
    let status = control.list_nodes(ListNodesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    third.stop().await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_learn_where_every_manager_is() {
    let first = first().await;
    let second = join(&first, &first.manager_token().await).await;
    let known = || {
        let view = first.manager.store().view();
        let addr = |n: &Node| n.manager_status.as_ref().map(|s| s.addr.clone());
        view.all::<Node>().filter_map(addr).collect::<std::collections::BTreeSet<_>>()
    };
    let wanted = [first.addr.to_string(), second.addr.to_string()].into();
    let found = async || (known() == wanted).then_some(()).ok_or_else(|| format!("{:?}", known()));
    until(found).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_a_follower_ends_as_unavailable_with_its_leader() {
    let first = first().await;
    let second = join(&first, &first.manager_token().await).await;
    let third = join(&first, &first.manager_token().await).await;
    let channel = second.credentials.channel(&second.addr.to_string()).unwrap();
    let mut client = swarm_api::watch_client::WatchClient::new(channel);
    let selector = WatchSelector { kind: Kind::Secret.into(), ..WatchSelector::default() };
    let request = WatchRequest { selectors: vec![selector], after: 0 };
    let mut changes = client.watch(request).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().unwrap().events.is_empty());
    until(|| third.add_secret("one")).await;
    assert_eq!(changes.message().await.unwrap().unwrap().events.len(), 1);
    first.stop().await;
    let status = changes.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_takes_nothing_acknowledged_with_it() {
    // Its own runtime: dropping it is as sudden as a kill.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let first = doomed.spawn(first()).await.unwrap();
    let second = join(&first, &first.manager_token().await).await;
    let third = join(&first, &first.manager_token().await).await;
    for name in ["one", "two", "three"] {
        until(|| third.add_secret(name)).await;
    }
    doomed.shutdown_background();
    until(|| second.add_secret("four")).await;
    let list = async || third.control().list_secrets(ListSecretsRequest::default()).await;
    assert_eq!(until(list).await.into_inner().secrets.len(), 4);
    third.stop().await;
    second.stop().await;
    drop(first);
}
