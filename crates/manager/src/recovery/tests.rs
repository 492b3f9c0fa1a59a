use std::time::{Duration, UNIX_EPOCH};

use swarm_ca::{Credentials, Root};
use swarm_raft_store::{ArchiveCover, Store, write_archive};

use super::*;
use crate::clock::Clock;
use crate::{Manager, ManagerConfig, Mode};

const DATA_KEY: [u8; 32] = [3; 32];

fn node(id: &str, role: NodeRole) -> Node {
    let spec = NodeSpec { desired_role: role.into(), ..NodeSpec::default() };
    Node { id: id.into(), role: role.into(), spec: Some(spec), ..Node::default() }
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// A cluster of three managers and a worker.
async fn view() -> View {
    let store = Store::standalone();
    let root = Root::generate("c1", now()).unwrap();
    let annotations = |name: &str| Some(Annotations { name: name.into(), ..Default::default() });
    let root_ca = RootCa {
        certificate_pem: root.certificate_pem().into(),
        key_pem: root.key_pem().unwrap().into(),
        ..RootCa::default()
    };
    let cluster = Cluster {
        id: "c1".into(),
        spec: Some(ClusterSpec { annotations: annotations("default"), ..Default::default() }),
        root_ca: Some(root_ca),
        removed_nodes: vec![RemovedNode { node_id: "gone".into(), refused_until: None }],
        ..Cluster::default()
    };
    let spec = SecretSpec { annotations: annotations("s"), data: b"hidden".to_vec() };
    let secret = Secret { id: "s1".into(), spec: Some(spec), ..Secret::default() };
    let made = store.transact(7_000_000_000, |tx| {
        tx.create(cluster.clone())?;
        tx.create(secret.clone())?;
        for id in ["m1", "m2", "m3"] {
            tx.create(node(id, NodeRole::Manager))?;
        }
        tx.create(node("w1", NodeRole::Worker))
    });
    made.await.map_err(|e: StoreError| e).unwrap();
    store.view()
}

async fn saved(dir: &Path) -> (std::path::PathBuf, RecoveryKey) {
    let (file, key) = (dir.join("saved"), RecoveryKey::generate().unwrap());
    let mut bytes = Vec::new();
    let cover = ArchiveCover { term: 4, saved_at_ns: 9, ..ArchiveCover::default() };
    let emit = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    write_archive(&view().await, &cover, key.bytes(), emit).unwrap();
    std::fs::write(&file, bytes).unwrap();
    (file, key)
}

fn heir(node_id: &str) -> Heir {
    Heir { node_id: node_id.into(), hostname: "new".into(), addr: "127.0.0.1:1".into() }
}

/// The recovered state, as a manager started on it has it.
async fn started(dir: &Path, identity: Identity) -> (Manager, View) {
    let config = ManagerConfig {
        credentials: Credentials::new(identity),
        state_dir: dir.to_owned(),
        advertise_addr: "127.0.0.1:1".into(),
        data_keys: DATA_KEY.into(),
        clock: Clock::system(),
        book: crate::address_book::AddressBook::default(),
        keeping: None,
    };
    let manager = Manager::start(config, Mode::Restart { remotes: vec![] }).await.unwrap();
    manager.ready(Duration::from_secs(30)).await.unwrap();
    let view = manager.store().view();
    (manager, view)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_becomes_a_cluster_of_one_manager_on_a_new_node() {
    let dir = tempfile::tempdir().unwrap();
    let (file, key) = saved(dir.path()).await;
    let salvage = Salvage::from_snapshot(&file, &key).unwrap();
    assert_eq!((salvage.index(), salvage.term, salvage.saved_at_ns), (1, 4, Some(9)));
    assert_eq!((salvage.cluster_id().as_str(), salvage.changed_at_ns()), ("c1", 7_000_000_000));
    assert_eq!((salvage.counts()["nodes"], salvage.counts()["secrets"]), (4, 1));
    let target = dir.path().join("new");
    let identity = restore(&salvage, &heir("n9"), &target, &DATA_KEY.into(), now()).unwrap();
    assert_eq!((identity.node_id.as_str(), identity.role), ("n9", NodeRole::Manager));
    assert!(identity.not_after > now());

    let (manager, view) = started(&target, identity).await;
    let secret = view.get::<Secret>("s1").unwrap().spec.clone().unwrap();
    assert_eq!(secret.data, b"hidden");
    assert_eq!(view.get::<Node>("n9").unwrap().hostname(), "new");
    let managers: Vec<&str> = view
        .all::<Node>()
        .filter(|n| n.role() == NodeRole::Manager)
        .map(|n| n.id.as_str())
        .collect();
    assert_eq!(managers, ["n9"]);
    assert!(view.get::<Node>("m2").unwrap().was_manager, "its old certificate is refused");
    assert!(!view.get::<Node>("w1").unwrap().was_manager);
    manager.shutdown().await;
    // What is left of that one can be recovered in its turn, long after its certificates are old.
    let salvage = Salvage::from_folder(&target, &DATA_KEY.into()).unwrap();
    assert_eq!(salvage.node_id.as_deref(), Some("n9"));
    let again = dir.path().join("again");
    let later = now() + Duration::from_secs(400 * 24 * 3600);
    let identity = restore(&salvage, &heir("n9"), &again, &DATA_KEY.into(), later).unwrap();
    assert!(identity.not_after > later);
}

#[tokio::test]
async fn a_damaged_or_foreign_snapshot_recovers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (file, key) = saved(dir.path()).await;
    let other = RecoveryKey::generate().unwrap();
    let error = Salvage::from_snapshot(&file, &other).unwrap_err().to_string();
    assert!(error.contains("made under the key"), "{error}");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = Salvage::from_snapshot(&file, &key).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    let error = Salvage::from_folder(&dir.path().join("none"), &DATA_KEY.into()).unwrap_err();
    assert!(error.to_string().contains("holds no manager's log"), "{error}");
}

#[tokio::test]
async fn a_removed_node_is_no_heir() {
    let dir = tempfile::tempdir().unwrap();
    let (file, key) = saved(dir.path()).await;
    let salvage = Salvage::from_snapshot(&file, &key).unwrap();
    assert!(salvage.knows("m1") && !salvage.knows("gone") && !salvage.knows("other"));
    let refused =
        restore(&salvage, &heir("gone"), &dir.path().join("new"), &DATA_KEY.into(), UNIX_EPOCH);
    assert!(refused.unwrap_err().to_string().contains("was removed"));
}
