//! Every call of every service against every kind of caller, through the services as they are mounted.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use swarm_ca::Caller;
use swarm_raft_store::StoreError;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::*;
use crate::authorize::{Audience, audience};

/// Services that a manager does not have: the node's own, and what nodes ask of one another.
const ELSEWHERE: [&str; 5] = ["NodeControl", "Images", "Volumes", "Peer", "Whereabouts"];
/// A stream that has sent nothing by then was let in.
const SILENCE: Duration = Duration::from_millis(300);

/// What each kind of caller may call.
fn callers(own: &str) -> Vec<(&'static str, Caller, &'static [Audience])> {
    use Audience::{Anyone, Nodes, Operators, Peers};
    let node = |id: &str, role, cluster: &str| Caller::Node {
        node_id: id.into(),
        role,
        cluster_id: cluster.into(),
    };
    let (worker, manager) = (NodeRole::Worker, NodeRole::Manager);
    let id = &own[..own.find('/').unwrap()];
    let cluster = &own[id.len() + 1..];
    vec![
        ("anonymous", Caller::Anonymous, &[Anyone]),
        ("local", Caller::Local, &[Anyone, Operators]),
        ("worker", node("w", worker, cluster), &[Anyone, Nodes]),
        ("manager", node(id, manager, cluster), &[Anyone, Nodes, Operators, Peers]),
        ("demoted manager", node("demoted", manager, cluster), &[Anyone, Nodes]),
        ("removed worker", node("removed", worker, cluster), &[Anyone]),
        ("removed manager", node("removed", manager, cluster), &[Anyone]),
        ("unknown worker", node("unknown", worker, cluster), &[Anyone]),
        // A replica that lags must let its leader bring it up to date.
        ("unknown manager", node("unknown", manager, cluster), &[Anyone, Peers]),
        ("foreign worker", node("w", worker, "c9"), &[Anyone]),
        ("foreign manager", node(id, manager, "c9"), &[Anyone]),
    ]
}

/// A worker, a former manager, and one who was removed.
async fn people(store: &Store) {
    let made = store.transact(0, |tx| {
        tx.create(Node { id: "w".into(), ..Node::default() })?;
        tx.create(Node { id: "demoted".into(), was_manager: true, ..Node::default() })?;
        let mut cluster = tx.view().cluster().cloned().unwrap();
        let removed = RemovedNode { node_id: "removed".into(), refused_until: None };
        cluster.removed_nodes.push(removed);
        tx.update(cluster)
    });
    made.await.map_err(|e: StoreError| e).unwrap();
}

/// One empty message to `path`; what comes back, or `None` for a stream that stays open.
async fn call(routes: &Routes, path: &str, caller: &Caller) -> Option<Status> {
    let mut request = http::Request::post(format!("http://manager{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from_static(&[0; 5]))))
        .unwrap();
    request.extensions_mut().insert(caller.clone());
    let answer = routes.clone().oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Some(status);
    }
    let mut body = answer.into_body();
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await.ok()??;
        match frame {
            Err(status) => return Some(status),
            Ok(frame) if frame.is_trailers() => {
                return Status::from_header_map(frame.trailers_ref().unwrap());
            }
            Ok(_) => {}
        }
    }
}

/// Why a caller was not let in; `None` if it was, whatever came of its call.
fn refusal(path: &str, status: Option<Status>) -> Option<String> {
    let status = status?;
    // These look at more than the caller.
    let calls = ["/IssueCertificate", "/RecoverCertificate"];
    let own_word = calls.iter().any(|call| path.ends_with(call))
        || status.message().ends_with("is not a manager of this swarm: promote it first");
    let own_word = own_word && status.code() == Code::PermissionDenied;
    let refused = matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
    (refused && !own_word).then(|| status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_for_whom_its_rule_says_and_no_call_is_without_a_rule() {
    let first = first().await;
    people(&first.manager.store()).await;
    let routes = first.manager.routes();
    let own = first.credentials.identity();
    let callers = callers(&format!("{}/{}", own.node_id, own.cluster_id));
    let calls = swarm_api::rpc::all();
    assert!(calls.len() > 50);
    let mut wrong = Vec::new();
    for rpc in &calls {
        let Some(rule) = audience(&rpc.path) else {
            wrong.push(format!("{} has no rule", rpc.path));
            continue;
        };
        for (kind, caller, may) in &callers {
            let status = call(&routes, &rpc.path, caller).await;
            if ELSEWHERE.contains(&rpc.service.as_str()) {
                let served = status.as_ref().is_none_or(|s| s.code() != Code::Unimplemented);
                if served {
                    wrong.push(format!("{} is served by a manager: {status:?}", rpc.path));
                }
                continue;
            }
            let refused = refusal(&rpc.path, status);
            if refused.is_none() != may.contains(&rule) {
                wrong.push(format!("{} for {rule:?}, by {kind}: {refused:?}", rpc.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    first.stop().await;
}

#[test]
fn a_call_that_nobody_has_thought_of_is_nobodys() {
    for path in [
        "/swarm.v1.Control/GetSecretData",
        "/swarm.v1.Control/RemoveCluster2",
        "/swarm.v1.NodeCa/Sign",
        "/swarm.v2.Control/GetCluster",
        "/swarm.v1.Nothing/Get",
        "",
        "/",
    ] {
        assert_eq!(audience(path), None, "{path}");
    }
}
