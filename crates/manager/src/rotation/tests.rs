use swarm_api::{Annotations, ClusterSpec, NodeDescription};

use super::*;

fn cluster(root: &Root) -> Cluster {
    let annotations = Some(Annotations { name: "default".into(), ..Annotations::default() });
    let token = JoinToken::generate(root, &mut rand::rng()).to_string();
    let root_ca = RootCa {
        certificate_pem: root.certificate_pem().into(),
        key_pem: root.key_pem().unwrap().into(),
        join_tokens: Some(JoinTokens { worker: token.clone(), manager: token }),
        digest: root.digest(),
        rotation: None,
    };
    let spec = Some(ClusterSpec { annotations, ..ClusterSpec::default() });
    Cluster { id: "c1".into(), spec, root_ca: Some(root_ca), ..Cluster::default() }
}

fn new_root() -> Root {
    Root::generate("c1", SystemTime::now()).unwrap()
}

fn begun(cluster: &mut Cluster, new: &Root) -> Result<(), Refusal> {
    begin(cluster, new, SystemTime::now())
}

fn wanted(cluster: &Cluster) -> Option<&str> {
    cluster.root_ca.as_ref()?.rotation.as_ref().map(|r| r.digest.as_str())
}

fn node(id: &str, issuer: &Root, trusted: &[&Root]) -> Node {
    let trust_roots = trusted.iter().map(|r| r.digest()).collect();
    let tls = Some(NodeTlsInfo { trust_roots, issuer: issuer.digest() });
    let description = Some(NodeDescription { tls, ..NodeDescription::default() });
    Node { id: id.into(), description, ..Node::default() }
}

#[test]
fn a_second_rotation_replaces_the_first_and_one_back_to_the_root_ends_it() {
    let (old, first, second) = (new_root(), new_root(), new_root());
    let mut cluster = cluster(&old);
    let refusal = begun(&mut cluster, &old).unwrap_err().to_string();
    assert!(refusal.contains("would change nothing"), "{refusal}");
    begun(&mut cluster, &first).unwrap();
    assert_eq!(wanted(&cluster), Some(first.digest().as_str()));
    let before = cluster.clone();
    begun(&mut cluster, &first).unwrap();
    assert_eq!(cluster, before, "the same again changes nothing");
    begun(&mut cluster, &second).unwrap();
    assert_eq!(wanted(&cluster), Some(second.digest().as_str()));
    assert_eq!(cluster.root_ca.as_ref().unwrap().digest, old.digest());
    begun(&mut cluster, &old).unwrap();
    assert_eq!(wanted(&cluster), None);
}

async fn with(nodes: &[Node], cluster: &Cluster) -> Store {
    let store = Store::standalone();
    let made = store.transact(0, |tx| {
        tx.create(cluster.clone())?;
        nodes.iter().try_for_each(|node| tx.create(node.clone()))
    });
    made.await.map_err(|e: StoreError| e).unwrap();
    store
}

#[tokio::test]
async fn a_rotation_is_complete_when_every_node_is_certified_by_and_trusts_the_new_root() {
    let (old, new) = (new_root(), new_root());
    let mut cluster = cluster(&old);
    let done = node("a", &new, &[&old, &new]);
    let complete =
        async |nodes: &[Node], cluster: &Cluster| is_complete(&with(nodes, cluster).await.view());
    assert_eq!(complete(std::slice::from_ref(&done), &cluster).await, None, "there is none");
    begun(&mut cluster, &new).unwrap();
    assert_eq!(complete(std::slice::from_ref(&done), &cluster).await, Some(true));
    for late in [
        node("b", &old, &[&old, &new]),
        node("b", &new, &[&old]),
        Node { id: "b".into(), ..Node::default() },
    ] {
        assert_eq!(complete(&[done.clone(), late], &cluster).await, Some(false));
    }
}

#[tokio::test]
async fn the_finisher_waits_for_the_last_node_then_puts_root_and_tokens_in_place() {
    let (old, new) = (new_root(), new_root());
    let mut cluster = cluster(&old);
    begun(&mut cluster, &new).unwrap();
    let nodes = [node("a", &new, &[&old, &new]), node("b", &old, &[&old])];
    let store = with(&nodes, &cluster).await;
    let cancel = CancellationToken::new();
    let finisher = Finisher::new(store.clone(), Clock::system()).run(cancel.clone());
    let running = tokio::spawn(finisher);
    let mut commits = store.subscribe();
    // b is removed: nobody has to be waited for any more.
    store.transact(0, |tx| tx.remove::<Node>("b")).await.unwrap();
    let root_ca = loop {
        let _ = commits.next().await;
        let root_ca = store.view().cluster().and_then(|c| c.root_ca.clone()).unwrap();
        if root_ca.rotation.is_none() {
            break root_ca;
        }
    };
    assert_eq!(
        (root_ca.digest.as_str(), root_ca.key_pem.as_str()),
        (new.digest().as_str(), new.key_pem().unwrap())
    );
    for token in
        [root_ca.join_tokens.as_ref().unwrap().worker.clone(), root_ca.join_tokens.unwrap().manager]
    {
        assert_eq!(token.parse::<JoinToken>().unwrap().digest(), new.digest());
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
}
