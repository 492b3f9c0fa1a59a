//! Who is believed over real connections: forged names, removed nodes, replaced roots.

use swarm_api::dispatcher_client::DispatcherClient;
use swarm_api::log_broker_client::LogBrokerClient;
use tonic::Code;
use tonic::metadata::MetadataValue;

use super::*;

/// A worker that joined by token.
async fn worker(remote: &Host) -> Credentials {
    let ask = async || remote.control().get_cluster(GetClusterRequest {}).await;
    let cluster = until(ask).await.into_inner().cluster.unwrap();
    let text = cluster.root_ca.unwrap().join_tokens.unwrap().worker;
    let token: JoinToken = text.parse().unwrap();
    let addr = remote.addr.to_string();
    let root = fetch_root(&addr, &token).await.unwrap();
    let channel = anonymous_channel(&addr, &root).await.unwrap();
    let (key, csr_der) = new_csr().unwrap();
    let request = IssueCertificateRequest { csr_der, token: text, ..Default::default() };
    let answer = NodeCaClient::new(channel).issue_certificate(request).await.unwrap().into_inner();
    let identity = Identity::new(answer.certificate_pem, key, answer.root_ca_pem).unwrap();
    Credentials::new(identity)
}

fn channel(credentials: &Credentials, to: &Host) -> Channel {
    credentials.channel(&to.addr.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_caller_is_taken_from_a_manager_only() {
    let first = first().await;
    let second = join(&first, &first.manager_token().await).await;
    let worker = worker(&first).await;
    let own = first.credentials.identity();
    let forged = ["local".to_owned(), format!("manager/{}/{}", own.node_id, own.cluster_id)];
    // At the leader and at a follower.
    for host in [&first, &second] {
        for name in &forged {
            let mut request = tonic::Request::new(ListNodesRequest::default());
            request.metadata_mut().insert("swarm-caller", MetadataValue::try_from(name).unwrap());
            let mut control = ControlClient::new(channel(&worker, host));
            let status = control.list_nodes(request).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
            assert_eq!(status.message(), "only a manager may pass on a request");
        }
        let mut control = ControlClient::new(channel(&worker, host));
        let status = control.list_nodes(ListNodesRequest::default()).await.unwrap_err();
        assert!(status.message().contains("is a worker"), "{status}");
    }
    // Raft is not passed on, and the header changes nothing there.
    let mut request = tonic::Request::new(RaftEnvelope::default());
    request.metadata_mut().insert("swarm-caller", MetadataValue::try_from(&forged[1]).unwrap());
    let mut raft = swarm_api::raft_client::RaftClient::new(channel(&worker, &first));
    assert_eq!(raft.vote(request).await.unwrap_err().code(), Code::PermissionDenied);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_loses_its_streams_at_once_wherever_it_is_connected() {
    let first = first().await;
    let second = join(&first, &first.manager_token().await).await;
    let worker = worker(&first).await;
    let mut streams = Vec::new();
    for host in [&first, &second] {
        let listen = async || {
            let request = ListenSubscriptionsRequest {};
            LogBrokerClient::new(channel(&worker, host)).listen_subscriptions(request).await
        };
        streams.push(until(listen).await.into_inner());
    }
    let mut dispatcher = DispatcherClient::new(channel(&worker, &second));
    let mut session = dispatcher.session(SessionRequest::default()).await.unwrap().into_inner();
    session.message().await.unwrap().unwrap();
    let node = worker.identity().node_id.clone();
    let request = RemoveNodeRequest { node: node.clone(), force: true };
    first.control().remove_node(request).await.unwrap();
    for stream in &mut streams {
        let ended = tokio::time::timeout(PATIENCE, stream.message()).await.expect("it ends");
        assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    }
    let ended = async { while let Ok(Some(_)) = session.message().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the session ends");
    for host in [&first, &second] {
        let session = async || {
            let mut client = DispatcherClient::new(channel(&worker, host));
            match client.session(SessionRequest::default()).await {
                Err(status) if status.code() == Code::PermissionDenied => Ok(status),
                other => Err(format!("{:?}", other.map(|_| ()))),
            }
        };
        let status = until(session).await;
        assert_eq!(status.message(), format!("node {node} was removed from the swarm"));
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_lets_old_and_new_certificates_meet_and_hides_the_new_key() {
    let first = first().await;
    let before = worker(&first).await;
    let answer = first.control().rotate_root_ca(RotateRootCaRequest::default()).await.unwrap();
    let root_ca = answer.into_inner().cluster.unwrap().root_ca.unwrap();
    let rotation = root_ca.rotation.unwrap();
    assert!(root_ca.key_pem.is_empty() && rotation.key_pem.is_empty());
    assert_ne!(rotation.digest, root_ca.digest);
    // By the old token; certified by the new root; the manager has an old certificate.
    let after = worker(&first).await;
    assert_eq!(after.identity().issuer(), rotation.digest);
    for credentials in [&before, &after] {
        let (_, csr_der) = new_csr().unwrap();
        let mut ca = NodeCaClient::new(channel(credentials, &first));
        let request = RenewCertificateRequest { csr_der };
        let renewed = ca.renew_certificate(request).await.unwrap().into_inner();
        assert_eq!(renewed.certificate_pem.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(renewed.root_ca_pem.matches("BEGIN CERTIFICATE").count(), 2);
    }
    let mut control = first.control();
    let bad = RotateRootCaRequest { certificate_pem: "x".into(), ..Default::default() };
    let status = control.rotate_root_ca(bad).await.unwrap_err();
    assert_eq!(status.message(), "a CA certificate needs its CA key");
    first.stop().await;
}
