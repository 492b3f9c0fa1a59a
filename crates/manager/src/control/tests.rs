use std::time::{Duration, SystemTime};

use swarm_raft_store::StoreError;

use super::*;

mod networks;
mod nodes;
mod requests;
mod services;

/// A door to a swarm with a cluster object and an ingress network.
async fn door() -> Door {
    let store = Store::standalone();
    let named = |name: &str| Some(Annotations { name: name.into(), ..Annotations::default() });
    let cluster = Cluster {
        id: "c1".into(),
        spec: Some(ClusterSpec { annotations: named("default"), ..ClusterSpec::default() }),
        root_ca: Some(RootCa { key_pem: "hidden".into(), ..RootCa::default() }),
        ..Cluster::default()
    };
    let spec = NetworkSpec { annotations: named("ingress"), ingress: true, ..Default::default() };
    let ingress = Network { id: "in".into(), spec: Some(spec), ..Network::default() };
    store
        .transact(0, |tx| {
            tx.create(cluster.clone())?;
            tx.create(ingress.clone())?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let clock = Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    Door::new(store, Quorum::Standalone, clock)
}

fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

async fn make_secret(door: &Door, name: &str) -> Secret {
    let spec = SecretSpec { annotations: annotations(name), data: b"hidden".to_vec() };
    let request = CreateSecretRequest { spec: Some(spec), ..CreateSecretRequest::default() };
    secret::create(door, request).await.unwrap().secret.unwrap()
}

async fn make_network(door: &Door, name: &str, subnet: &str) -> Result<Network, Refusal> {
    let ipam = match subnet {
        "" => Vec::new(),
        subnet => vec![IpamConfig { subnet: subnet.into(), ..IpamConfig::default() }],
    };
    let spec = NetworkSpec { annotations: annotations(name), ipam, ..NetworkSpec::default() };
    let request = CreateNetworkRequest { spec: Some(spec), ..CreateNetworkRequest::default() };
    Ok(network::create(door, request).await?.network.unwrap())
}

#[tokio::test]
async fn an_answer_carries_neither_secret_data_nor_the_roots_key() {
    let door = door().await;
    let secret = make_secret(&door, "password").await;
    assert!(secret.spec.unwrap().data.is_empty());
    let request = GetSecretRequest { secret: "password".into() };
    let secret = secret::get(&door, request).await.unwrap().secret.unwrap();
    assert!(secret.spec.unwrap().data.is_empty());
    let list = secret::list(&door, ListSecretsRequest::default()).await.unwrap();
    assert!(list.secrets[0].spec.as_ref().unwrap().data.is_empty());
    let cluster = cluster::get(&door, GetClusterRequest {}).await.unwrap().cluster.unwrap();
    assert!(cluster.root_ca.unwrap().key_pem.is_empty());
}

#[tokio::test]
async fn only_the_labels_of_a_secret_may_change() {
    let door = door().await;
    let secret = make_secret(&door, "password").await;
    let update = |spec| UpdateSecretRequest {
        secret_id: secret.id.clone(),
        version: secret.meta.as_ref().unwrap().version,
        spec: Some(spec),
    };
    let mut labelled = secret.spec.clone().unwrap();
    labelled.annotations.as_mut().unwrap().labels.insert("tier".into(), "db".into());
    let updated = secret::update(&door, update(labelled.clone())).await.unwrap().secret.unwrap();
    assert_eq!(updated.spec, Some(labelled.clone()));
    // Based on a version that is not the newest any more.
    let refusal = secret::update(&door, update(labelled.clone())).await.unwrap_err();
    assert_eq!(Status::from(refusal).code(), tonic::Code::Aborted);
    labelled.data = b"other".to_vec();
    let refusal = secret::update(&door, update(labelled)).await.unwrap_err();
    assert!(refusal.to_string().contains("only updates to labels"), "{refusal}");
}

#[tokio::test]
async fn a_setting_that_nothing_reads_cannot_be_changed() {
    let door = door().await;
    let spec = ClusterSpec {
        annotations: annotations("default"),
        snapshot_interval: 7,
        ..ClusterSpec::default()
    };
    let request = UpdateClusterRequest { spec: Some(spec), ..UpdateClusterRequest::default() };
    let refusal = cluster::update(&door, request).await.unwrap_err();
    assert_eq!(refusal.to_string(), "changing the snapshot interval is not built yet");
}

#[tokio::test]
async fn spare_managers_out_of_range_are_refused_with_the_range() {
    let door = door().await;
    let update = async |spare_managers, secs| {
        let spare_after = Some(swarm_api::time::to_proto(Duration::from_secs(secs)));
        let annotations = annotations("default");
        let spec = ClusterSpec { annotations, spare_managers, spare_after, ..Default::default() };
        let request = UpdateClusterRequest { spec: Some(spec), ..UpdateClusterRequest::default() };
        cluster::update(&door, request).await.map_err(|refusal| refusal.to_string())
    };
    assert!(update(3, 60).await.is_ok());
    assert!(update(32, 60).await.unwrap_err().ends_with("want 0 to 31"));
    assert!(update(3, 9).await.unwrap_err().contains("at least 10s"));
}

#[tokio::test]
async fn data_outside_the_limits_is_refused() {
    let door = door().await;
    for data in [Vec::new(), vec![0; 500 << 10]] {
        let spec = SecretSpec { annotations: annotations("s"), data };
        let request = CreateSecretRequest { spec: Some(spec), ..CreateSecretRequest::default() };
        let refusal = secret::create(&door, request).await.unwrap_err();
        assert!(refusal.to_string().contains("less than 512000 bytes"), "{refusal}");
    }
}

#[tokio::test]
async fn encryption_that_is_not_built_is_refused_by_name() {
    let door = door().await;
    let spec = NetworkSpec {
        annotations: annotations("front"),
        driver_opts: [("encrypted".to_owned(), String::new())].into(),
        ..NetworkSpec::default()
    };
    let request = CreateNetworkRequest { spec: Some(spec), ..CreateNetworkRequest::default() };
    let refusal = network::create(&door, request).await.unwrap_err();
    assert_eq!(Status::from(refusal).code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_rotation_replaces_only_the_token_asked_for() {
    let door = door().await;
    let root = swarm_ca::Root::generate("c1", SystemTime::now()).unwrap();
    let tokens = JoinTokens { worker: "old".into(), manager: "old".into() };
    let root_ca = RootCa {
        certificate_pem: root.certificate_pem().into(),
        join_tokens: Some(tokens),
        ..RootCa::default()
    };
    door.write(|tx| {
        let mut cluster = tx.view().cluster().cloned().unwrap();
        cluster.root_ca = Some(root_ca.clone());
        Ok(tx.update(cluster)?)
    })
    .await
    .unwrap();
    let request = UpdateClusterRequest { rotate_worker_token: true, ..Default::default() };
    let cluster = cluster::update(&door, request).await.unwrap().cluster.unwrap();
    let tokens = cluster.root_ca.unwrap().join_tokens.unwrap();
    assert!(tokens.worker.starts_with("SWMTKN-1-"), "{}", tokens.worker);
    assert_eq!(tokens.manager, "old");
}
