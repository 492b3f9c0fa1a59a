//! What a new cluster begins with: its settings and tokens, its first node, and the ingress network.
//!
//! Predefined node-local networks (`host`, `bridge`) are names, not objects.

use std::time::Duration;

use swarm_api::time::to_proto;
use swarm_api::*;
use swarm_ca::{JoinToken, RecoveryKey, Root};
use swarm_raft_store::Store;

use crate::ca_service::{CERT_EXPIRY, new_node};
use crate::clock::Clock;
use crate::refusal::Refusal;

/// Name of the one cluster object.
const CLUSTER: &str = "default";
/// Name of the network that carries published ports.
const INGRESS: &str = "ingress";

const HEARTBEAT: Duration = Duration::from_secs(1);
const TASK_HISTORY: i64 = 5;
const SNAPSHOT_INTERVAL: u64 = 10_000;
/// Networks get their subnets from here unless the user names other pools.
const ADDR_POOL: &str = "10.0.0.0/8";
/// A /20 holds 4,094 endpoints.
const SUBNET_SIZE: u32 = 20;
/// VXLAN's own.
const DATA_PATH_PORT: u32 = 4789;

/// What `init` decides about a new cluster.
pub struct ClusterSeed {
    /// Its root, with key.
    pub root: Root,
    /// Id of the cluster, as in every certificate.
    pub cluster_id: String,
    /// Id of the first node.
    pub node_id: String,
    /// Hostname of the first node.
    pub hostname: String,
    /// Availability of the first node.
    pub availability: NodeAvailability,
    /// Pools for subnets, CIDR; empty: the default.
    pub default_addr_pool: Vec<String>,
    /// Prefix length of a network's subnet; 0: the default.
    pub subnet_size: u32,
    /// UDP port of the data path; 0: the default.
    pub data_path_port: u32,
}

/// Makes what is missing in an empty store; does nothing to one that has its cluster.
pub async fn ensure(
    store: &Store,
    clock: &Clock,
    seed: Option<&ClusterSeed>,
) -> Result<(), Refusal> {
    if store.view().cluster().is_some() {
        return Ok(());
    }
    let Some(seed) = seed else {
        return Err(Refusal::Internal(
            "the store holds no cluster: its initialisation was interrupted, initialise it anew"
                .into(),
        ));
    };
    let cluster = cluster(seed)?;
    let ingress = ingress();
    store
        .transact(clock.now_nanos(), |tx| {
            if tx.view().cluster().is_some() {
                return Ok(());
            }
            tx.create(cluster.clone())?;
            tx.create(ingress.clone())?;
            Ok(tx.create(first_node(seed))?)
        })
        .await
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

fn cluster(seed: &ClusterSeed) -> Result<Cluster, Refusal> {
    let key = seed.root.key_pem().ok_or_else(|| {
        Refusal::Internal("the root of a new cluster comes without its key".into())
    })?;
    let token = || JoinToken::generate(&seed.root, &mut rand::rng()).to_string();
    let spec = ClusterSpec {
        annotations: named(CLUSTER),
        task_history_limit: TASK_HISTORY,
        heartbeat_period: Some(to_proto(HEARTBEAT)),
        node_cert_expiry: Some(to_proto(CERT_EXPIRY)),
        snapshot_interval: SNAPSHOT_INTERVAL,
        ..ClusterSpec::default()
    };
    let root_ca = RootCa {
        certificate_pem: seed.root.certificate_pem().to_owned(),
        key_pem: key.to_owned(),
        join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
        rotation: None,
        digest: seed.root.digest(),
    };
    let recovery_key = RecoveryKey::generate().map_err(|e| Refusal::Internal(e.to_string()))?;
    let custody = Custody { recovery_key: recovery_key.bytes().to_vec(), ..Custody::default() };
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let default_addr_pool = match seed.default_addr_pool.is_empty() {
        true => vec![ADDR_POOL.to_owned()],
        false => seed.default_addr_pool.clone(),
    };
    Ok(Cluster {
        id: seed.cluster_id.clone(),
        spec: Some(spec),
        root_ca: Some(root_ca),
        custody: Some(custody),
        default_addr_pool,
        subnet_size: or(seed.subnet_size, SUBNET_SIZE),
        data_path_port: or(seed.data_path_port, DATA_PATH_PORT),
        ..Cluster::default()
    })
}

fn ingress() -> Network {
    let spec = NetworkSpec {
        annotations: named(INGRESS),
        driver: "overlay".into(),
        ingress: true,
        ..NetworkSpec::default()
    };
    Network { id: id::random_id(), spec: Some(spec), ..Network::default() }
}

fn first_node(seed: &ClusterSeed) -> Node {
    let spec = NodeSpec {
        annotations: Some(Annotations::default()),
        desired_role: NodeRole::Manager.into(),
        availability: seed.availability.into(),
    };
    new_node(&seed.node_id, &seed.hostname, spec)
}
