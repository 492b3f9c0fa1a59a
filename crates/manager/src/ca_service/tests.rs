use swarm_ca::{Caller, Identity, Root, new_csr};
use swarm_raft_store::StoreError;

use super::node_ca_server::NodeCa as _;
use super::*;

struct Swarm {
    ca: NodeCa,
    store: Store,
    worker: String,
    manager: String,
}

async fn swarm() -> Swarm {
    let store = Store::standalone();
    let root = Root::generate("c1", SystemTime::now()).unwrap();
    let token = || JoinToken::generate(&root, &mut rand::rng()).to_string();
    let (worker, manager) = (token(), token());
    let root_ca = RootCa {
        certificate_pem: root.certificate_pem().into(),
        key_pem: root.key_pem().unwrap().into(),
        join_tokens: Some(JoinTokens { worker: worker.clone(), manager: manager.clone() }),
        digest: root.digest(),
        rotation: None,
    };
    let annotations = Annotations { name: "default".into(), ..Annotations::default() };
    let spec = ClusterSpec { annotations: Some(annotations), ..ClusterSpec::default() };
    let cluster = Cluster {
        id: "c1".into(),
        spec: Some(spec),
        root_ca: Some(root_ca),
        data_path_port: 4790,
        ..Cluster::default()
    };
    let made = store.transact(0, |tx| tx.create(cluster.clone())).await;
    made.unwrap();
    let gate = Gate::new(store.clone(), "c1".into());
    let ca = NodeCa::new(store.clone(), Clock::system(), gate);
    Swarm { ca, store, worker, manager }
}

impl Swarm {
    async fn join(&self, csr: &[u8], token: &str) -> Result<IssueCertificateResponse, Status> {
        let request = IssueCertificateRequest {
            csr_der: csr.to_vec(),
            token: token.into(),
            hostname: "host".into(),
            ..IssueCertificateRequest::default()
        };
        Ok(self.ca.issue_certificate(Request::new(request)).await?.into_inner())
    }
}

fn csr() -> Vec<u8> {
    new_csr().unwrap().1
}

#[tokio::test]
async fn the_token_decides_the_role_and_the_answer_names_the_data_path() {
    let swarm = swarm().await;
    let worker = swarm.join(&csr(), &swarm.worker).await.unwrap();
    let manager = swarm.join(&csr(), &swarm.manager).await.unwrap();
    assert_eq!((worker.role(), manager.role()), (NodeRole::Worker, NodeRole::Manager));
    assert!(worker.certificate_pem.starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!((worker.data_path_port, manager.data_path_port), (4790, 4790));
    assert_eq!(swarm.store.view().count::<Node>(), 2);
}

#[tokio::test]
async fn a_joiner_that_asks_again_becomes_the_same_node() {
    let swarm = swarm().await;
    let csr = csr();
    let first = swarm.join(&csr, &swarm.worker).await.unwrap();
    let second = swarm.join(&csr, &swarm.worker).await.unwrap();
    assert_eq!(first.node_id, second.node_id);
    assert_eq!(swarm.store.view().count::<Node>(), 1);
}

#[tokio::test]
async fn a_wrong_token_makes_no_node() {
    let swarm = swarm().await;
    let stranger = Root::generate("c2", SystemTime::now()).unwrap();
    let foreign = JoinToken::generate(&stranger, &mut rand::rng()).to_string();
    for token in ["", "SWMTKN-1-x-y", &foreign] {
        let status = swarm.join(&csr(), token).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
    }
    assert_eq!(swarm.store.view().count::<Node>(), 0);
}

#[tokio::test]
async fn a_renewal_carries_the_role_of_now_and_a_stranger_gets_none() {
    let swarm = swarm().await;
    let node = swarm.join(&csr(), &swarm.worker).await.unwrap();
    let promoted = swarm.store.transact(0, |tx| {
        let mut node = tx.view().get::<Node>(&node.node_id).cloned().unwrap();
        node.set_role(NodeRole::Manager);
        tx.update(node)
    });
    promoted.await.map_err(|e: StoreError| e).unwrap();
    let renew = |node_id: &str| {
        let mut request = Request::new(RenewCertificateRequest { csr_der: csr() });
        request.extensions_mut().insert(Caller::Node {
            node_id: node_id.into(),
            role: NodeRole::Worker,
            cluster_id: "c1".into(),
        });
        swarm.ca.renew_certificate(request)
    };
    let renewed = renew(&node.node_id).await.unwrap().into_inner();
    assert_eq!(renewed.role(), NodeRole::Manager);
    let status = renew("stranger").await.unwrap_err();
    assert!(status.message().contains("not part of this swarm"), "{status}");
}

#[tokio::test]
async fn guesses_are_cut_short_and_the_right_token_always_passes() {
    let swarm = swarm().await;
    let mut codes = Vec::new();
    for _ in 0..40 {
        codes.push(swarm.join(&csr(), "SWMTKN-1-x-y").await.unwrap_err().code());
    }
    assert_eq!(codes[0], tonic::Code::PermissionDenied);
    assert_eq!(codes[39], tonic::Code::ResourceExhausted);
    swarm.join(&csr(), &swarm.worker).await.unwrap();
}

#[tokio::test]
async fn while_the_root_is_replaced_old_tokens_let_in_with_certificates_of_the_new_root() {
    let swarm = swarm().await;
    let now = SystemTime::now();
    let new = Root::generate("c1", now).unwrap();
    let begun = swarm.store.transact(0, |tx| {
        let mut cluster = tx.view().cluster().cloned().unwrap();
        crate::rotation::begin(&mut cluster, &new, now)?;
        Ok::<_, Refusal>(tx.update(cluster)?)
    });
    begun.await.unwrap();
    let (key, csr) = new_csr().unwrap();
    let answer = swarm.join(&csr, &swarm.worker).await.unwrap();
    let identity = Identity::new(answer.certificate_pem, key, answer.root_ca_pem).unwrap();
    assert_eq!(identity.issuer(), new.digest());
    let trusted = identity.tls_info().trust_roots;
    assert_eq!(trusted.len(), 2);
    assert!(swarm.worker.contains(&trusted[0]), "the first is the one that the token pins");
    // Who trusts the old root only believes it all the same.
    let old = Root::each_in(&identity.root_pem).unwrap().remove(0);
    let narrow = identity.with_roots(old.certificate_pem()).unwrap();
    assert!(identity.succeeded_by(narrow).is_ok());
}
