//! Any manager answers: [`Front`] stands before each service and passes a request on to the leader where this manager is
//! not the one. Raft's own services have no front.
//!
//! It reads no message: requests and answers stay raw. The original caller travels in a header, believed only from a node
//! that is a manager now, whatever its certificate says. Nothing is sent twice; whoever asked repeats what was refused as
//! unavailable. Every answer ends with the term it was begun under, so no stream hangs on a leader that is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use swarm_api::NodeRole;
use swarm_ca::Caller;
use swarm_raft_store::Member;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::authorize::{Audience, Gate};
use crate::obstacle::Obstacle;
use crate::peers::Peers;
use crate::seat::{Seat, Seats};
use crate::whereabouts::root_cause;
use ended::until;

mod ended;

/// How long a request waits for a leader: an election takes one to two seconds.
const LEADER_WAIT: Duration = Duration::from_secs(4);

/// What clients know a missing leader by; why follows.
const NO_LEADER: &str = "the swarm does not have a leader:";

/// Names the original caller of a request that another manager passed on.
const CALLER_HEADER: &str = "swarm-caller";

/// A service in front of which the leader is found.
#[derive(Clone)]
pub struct Front<S> {
    inner: S,
    seats: Seats,
    gate: Gate,
    peers: Peers,
    obstacle: Obstacle,
}

impl<S> Front<S> {
    /// `inner` answers while this manager leads; `gate` judges who may speak for others; `obstacle` is told where there is no
    /// leader.
    pub fn new(inner: S, seats: Seats, gate: Gate, peers: Peers, obstacle: Obstacle) -> Self {
        Self { inner, seats, gate, peers, obstacle }
    }
}

impl<S: NamedService> NamedService for Front<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await.unwrap_or_else(Status::into_http)) })
    }
}

impl<S> Front<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    async fn answer(mut self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let passed_on = restore_caller(&self.gate, &mut request)?;
        match taken(&mut self.seats, &self.obstacle).await? {
            Seat::Here { term, .. } => {
                // The leader judges: what another manager has heard of may be old.
                self.gate.check(&request)?;
                let answer = within(&term, self.inner.call(request)).await?;
                let answer = answer.unwrap_or_else(|never| match never {});
                Ok(until(term, answer))
            }
            // Two managers that take each other for the leader would pass it to and fro.
            Seat::Elsewhere { .. } if passed_on => Err(Status::unavailable(
                "the leader changed while the request was on its way: try again",
            )),
            Seat::Elsewhere { leader, term } => {
                let answer =
                    within(&term, pass_on(self.peers, &self.obstacle, &leader, request)).await??;
                Ok(until(term, answer))
            }
            Seat::Vacant => Err(no_leader(&self.obstacle)),
        }
    }
}

fn no_leader(obstacle: &Obstacle) -> Status {
    Status::unavailable(format!("{NO_LEADER} {}", obstacle.say()))
}

/// Sends the request to the leader, with the name of its caller.
async fn pass_on(
    peers: Peers,
    obstacle: &Obstacle,
    leader: &Member,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let unreachable = |error: &dyn std::error::Error| {
        let (node_id, addr) = (&leader.node_id, peers.address(leader));
        Status::unavailable(format!(
            "{NO_LEADER} manager {node_id} at {addr}, which led last, is out of reach ({}); {}",
            root_cause(error),
            obstacle.say()
        ))
    };
    let mut channel = peers.channel(leader).map_err(|e| unreachable(&e))?;
    name_caller(&mut request)?;
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(|e| unreachable(&e))?;
    channel.call(request).await.map_err(|e| unreachable(&e))
}

/// Who leads; waits for a leader if there is none.
async fn taken(seats: &mut Seats, obstacle: &Obstacle) -> Result<Seat, Status> {
    match tokio::time::timeout(LEADER_WAIT, seats.wait_for(Seat::is_taken)).await {
        Ok(Ok(seat)) => Ok(seat.clone()),
        Ok(Err(_)) => Err(Status::unavailable("this manager is shutting down")),
        Err(_) => Err(no_leader(obstacle)),
    }
}

/// What `work` yields, unless the term ends first.
async fn within<F: Future>(term: &CancellationToken, work: F) -> Result<F::Output, Status> {
    tokio::select! {
        output = work => Ok(output),
        () = term.cancelled() => Err(ended::status()),
    }
}

/// Puts the original caller into the extensions of a request that a manager passed on. Tells whether it was passed on.
fn restore_caller(gate: &Gate, request: &mut Request<Body>) -> Result<bool, Status> {
    let Some(header) = request.headers_mut().remove(CALLER_HEADER) else {
        return Ok(false);
    };
    let passed_on_by = request.extensions().get::<Caller>().unwrap_or(&Caller::Anonymous);
    let from_manager = matches!(passed_on_by, Caller::Node { role: NodeRole::Manager, .. });
    // A manager that was demoted or removed still has its certificate.
    if !from_manager || gate.judge(passed_on_by, Audience::Operators).is_err() {
        return Err(Status::permission_denied("only a manager may pass on a request"));
    }
    let caller = header.to_str().ok().and_then(decode);
    let caller =
        caller.ok_or_else(|| Status::invalid_argument("the caller header is malformed"))?;
    request.extensions_mut().insert(caller);
    Ok(true)
}

fn name_caller(request: &mut Request<Body>) -> Result<(), Status> {
    let caller = request.extensions().get::<Caller>().unwrap_or(&Caller::Anonymous);
    let value = HeaderValue::try_from(encode(caller))
        .map_err(|_| Status::internal("the caller's name does not fit in a header"))?;
    request.headers_mut().insert(CALLER_HEADER, value);
    Ok(())
}

fn encode(caller: &Caller) -> String {
    match caller {
        Caller::Anonymous => "anonymous".into(),
        Caller::Local => "local".into(),
        Caller::Node { node_id, role: NodeRole::Worker, cluster_id } => {
            format!("worker/{node_id}/{cluster_id}")
        }
        Caller::Node { node_id, role: NodeRole::Manager, cluster_id } => {
            format!("manager/{node_id}/{cluster_id}")
        }
    }
}

fn decode(text: &str) -> Option<Caller> {
    let mut parts = text.split('/');
    let caller = match (parts.next()?, parts.next(), parts.next()) {
        ("anonymous", None, None) => Caller::Anonymous,
        ("local", None, None) => Caller::Local,
        (role, Some(node_id), Some(cluster_id)) => {
            let role = match role {
                "worker" => NodeRole::Worker,
                "manager" => NodeRole::Manager,
                _ => return None,
            };
            Caller::Node { node_id: node_id.into(), role, cluster_id: cluster_id.into() }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(caller)
}

#[cfg(test)]
mod tests {
    use swarm_api::{Annotations, Cluster, ClusterSpec, Node, RemovedNode};
    use swarm_raft_store::{Store, StoreError};

    use super::*;

    fn node(role: NodeRole) -> Caller {
        Caller::Node { node_id: "n1".into(), role, cluster_id: "c1".into() }
    }

    #[test]
    fn every_caller_survives_the_header() {
        let all =
            [Caller::Anonymous, Caller::Local, node(NodeRole::Worker), node(NodeRole::Manager)];
        for caller in all {
            assert_eq!(decode(&encode(&caller)), Some(caller));
        }
        for text in ["", "root", "manager/n1", "manager/n1/c1/x", "boss/n1/c1"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    /// A gate to cluster `c1`, where `n1` is a manager, `demoted` is none any more and `removed` is gone.
    async fn gate() -> Gate {
        let store = Store::standalone();
        let annotations = Some(Annotations { name: "default".into(), ..Default::default() });
        let cluster = Cluster {
            id: "c1".into(),
            spec: Some(ClusterSpec { annotations, ..ClusterSpec::default() }),
            removed_nodes: vec![RemovedNode { node_id: "removed".into(), refused_until: None }],
            ..Cluster::default()
        };
        let manager = Node { id: "n1".into(), role: NodeRole::Manager.into(), ..Node::default() };
        let demoted = Node { id: "demoted".into(), was_manager: true, ..Node::default() };
        let made = store.transact(0, |tx| {
            tx.create(cluster.clone())?;
            tx.create(manager.clone())?;
            tx.create(demoted.clone())
        });
        made.await.map_err(|e: StoreError| e).unwrap();
        Gate::new(store, "c1".into())
    }

    #[tokio::test]
    async fn only_a_manager_of_now_may_speak_for_others() {
        let gate = gate().await;
        let manager = |id: &str| Caller::Node {
            node_id: id.into(),
            role: NodeRole::Manager,
            cluster_id: "c1".into(),
        };
        for caller in [
            node(NodeRole::Worker),
            manager("demoted"),
            manager("removed"),
            manager("never-heard-of"),
            Caller::Local,
            Caller::Anonymous,
        ] {
            let mut request = Request::new(Body::empty());
            request.headers_mut().insert(CALLER_HEADER, HeaderValue::from_static("local"));
            request.extensions_mut().insert(caller.clone());
            let status = restore_caller(&gate, &mut request).unwrap_err();
            assert_eq!(status.code(), tonic::Code::PermissionDenied, "{caller:?}");
        }
    }

    #[tokio::test]
    async fn a_manager_passes_on_who_called_it() {
        let gate = gate().await;
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(node(NodeRole::Worker));
        name_caller(&mut request).unwrap();
        request.extensions_mut().insert(node(NodeRole::Manager));
        assert!(restore_caller(&gate, &mut request).unwrap());
        assert_eq!(request.extensions().get::<Caller>(), Some(&node(NodeRole::Worker)));
        assert!(!restore_caller(&gate, &mut request).unwrap());
    }
}
