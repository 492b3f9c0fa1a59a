//! Against a real manager over real connections; time passes by certificates that were issued long ago.

use std::time::{Duration, SystemTime};

use swarm_api::control_client::ControlClient;
use swarm_api::*;
use swarm_ca::{JoinToken, Kept, Root};
use swarm_manager::clock::Clock;
use swarm_manager::{ClusterSeed, Manager, ManagerConfig, Mode};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

use super::*;
use crate::front::{Front, ManagerSlot};
use crate::listener::serve_tls;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Cluster {
    manager: Manager,
    credentials: Credentials,
    root: Root,
    addr: String,
    dir: tempfile::TempDir,
    _serving: DropGuard,
}

fn identity(root: &Root, node: &str, role: NodeRole, age: Duration) -> Identity {
    let (key, csr) = new_csr().unwrap();
    let then = SystemTime::now() - age;
    let pem = root.issue(&csr, node, role, "c1", DAY, then).unwrap();
    Identity::new(pem, key, root.certificate_pem().into()).unwrap()
}

/// A cluster of one manager whose certificate is of this age.
async fn cluster(age: Duration) -> Cluster {
    let root = Root::generate("c1", SystemTime::now() - age).unwrap();
    let credentials = Credentials::new(identity(&root, "m1", NodeRole::Manager, age));
    let seed = ClusterSeed {
        root: root.clone(),
        cluster_id: "c1".into(),
        node_id: "m1".into(),
        hostname: "m1".into(),
        availability: NodeAvailability::Active,
        default_addr_pool: Vec::new(),
        subnet_size: 0,
        data_path_port: 0,
    };
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let config = ManagerConfig {
        credentials: credentials.clone(),
        state_dir: dir.path().join("raft"),
        advertise_addr: addr.clone(),
        data_keys: [7; 32].into(),
        clock: Clock::system(),
        keeping: None,
        book: swarm_manager::address_book::AddressBook::open(&dir.path().join("addresses")),
    };
    let manager = Manager::start(config, Mode::Bootstrap(Box::new(seed))).await.unwrap();
    let slot = ManagerSlot::default();
    slot.put(manager.routes());
    let front = Front::new(Routes::default(), &[], slot);
    let cancel = CancellationToken::new();
    tokio::spawn(serve_tls(listener, credentials.clone(), front, cancel.clone()));
    let _serving = cancel.drop_guard();
    Cluster { manager, credentials, root, addr, dir, _serving }
}

/// What is on the disk.
fn kept(keeper: &Keeper) -> Identity {
    match keeper.state.identity().unwrap() {
        Some(Kept::Open(identity)) => *identity,
        other => panic!("{other:?}"),
    }
}

impl Cluster {
    /// Joins as a worker would, then forgets the certificate: all that is left is one that expired.
    async fn expired_worker(&self) -> Keeper {
        let (_, csr_der) = new_csr().unwrap();
        let view = self.manager.store().view();
        let tokens = view.cluster().unwrap().root_ca.clone().unwrap().join_tokens.unwrap();
        let token: JoinToken = tokens.worker.parse().unwrap();
        let root = swarm_ca::fetch_root(&self.addr, &token).await.unwrap();
        let channel = swarm_ca::anonymous_channel(&self.addr, &root).await.unwrap();
        let request =
            IssueCertificateRequest { csr_der, token: tokens.worker, ..Default::default() };
        let answer = NodeCaClient::new(channel).issue_certificate(request).await.unwrap();
        let node_id = answer.into_inner().node_id;
        self.keeper(identity(&self.root, &node_id, NodeRole::Worker, DAY * 100))
    }

    fn keeper(&self, identity: Identity) -> Keeper {
        let state = StateDir::new(&self.dir.path().join(&identity.node_id));
        Keeper::new(Credentials::new(identity), state)
    }

    fn control(&self) -> ControlClient<tonic::transport::Channel> {
        ControlClient::new(self.credentials.channel(&self.addr).unwrap())
    }

    async fn renew(&self, keeper: &Keeper) -> Result<(), RenewError> {
        keeper.renew(std::slice::from_ref(&self.addr)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_certificate_has_expired_gets_a_new_one_by_its_key() {
    let cluster = cluster(Duration::ZERO).await;
    let keeper = cluster.expired_worker().await;
    let before = keeper.credentials.identity();
    assert!(before.is_expired(SystemTime::now()));
    cluster.renew(&keeper).await.unwrap();
    let after = keeper.credentials.identity();
    assert_eq!((&after.node_id, after.role), (&before.node_id, NodeRole::Worker));
    assert!(!after.is_expired(SystemTime::now()) && after.key_pem != before.key_pem);
    // It is kept, and good for connections: the next renewal goes the usual way.
    let kept = kept(&keeper);
    assert_eq!(kept.certificate_pem, after.certificate_pem);
    present(&keeper.credentials, &cluster.addr, &new_csr().unwrap().1).await.unwrap();
    cluster.manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_removed_node_nor_a_stranger_recovers_anything() {
    let cluster = cluster(Duration::ZERO).await;
    let keeper = cluster.expired_worker().await;
    let node = keeper.credentials.identity().node_id.clone();
    let request = RemoveNodeRequest { node: node.clone(), force: true };
    cluster.control().remove_node(request).await.unwrap();
    let refused = cluster.renew(&keeper).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("node {node} was removed from the swarm")), "{refused}");

    let unknown = cluster.keeper(identity(&cluster.root, "n9", NodeRole::Worker, DAY * 100));
    let refused = cluster.renew(&unknown).await.unwrap_err().to_string();
    assert!(refused.contains("node n9 is not part of this swarm"), "{refused}");
    cluster.manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_manager_of_a_cluster_that_was_off_for_long_renews_through_itself() {
    let cluster = cluster(DAY * 400).await;
    let refused = cluster.control().list_nodes(ListNodesRequest::default()).await;
    assert!(refused.is_err(), "nobody believes an expired certificate");
    let state = StateDir::new(&cluster.dir.path().join("m1"));
    let keeper = Keeper::new(cluster.credentials.clone(), state);
    cluster.renew(&keeper).await.unwrap();
    let own = cluster.credentials.identity();
    assert_eq!((own.role, own.is_expired(SystemTime::now())), (NodeRole::Manager, false));
    let nodes = cluster.control().list_nodes(ListNodesRequest::default()).await.unwrap();
    assert_eq!(nodes.into_inner().nodes.len(), 1);
    cluster.manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_are_taken_over_and_a_certificate_of_another_root_asks_for_renewal() {
    let cluster = cluster(Duration::ZERO).await;
    let own = cluster.credentials.identity();
    let new = Root::generate("c1", SystemTime::now()).unwrap();
    let both = format!("{}{}", own.root_pem, new.certificate_pem());
    let state = StateDir::new(&cluster.dir.path().join("m1"));
    state.save_identity(&own).unwrap();
    let keeper = Keeper::new(cluster.credentials.clone(), state);
    let told = |issuer: String| SessionMessage {
        root_ca_pem: both.clone(),
        issuer,
        ..SessionMessage::default()
    };
    keeper.follow(&told(cluster.root.digest())).await;
    assert_eq!(cluster.credentials.identity().root_pem, both);
    let calm = tokio::time::timeout(Duration::from_millis(1), keeper.urgent.notified()).await;
    assert!(calm.is_err(), "its certificate is of the root that is wanted");
    keeper.follow(&told(new.digest())).await;
    tokio::time::timeout(DAY, keeper.urgent.notified()).await.unwrap();
    let kept = kept(&keeper);
    assert_eq!(kept.root_pem, both);
    cluster.manager.shutdown().await;
}
