//! The node's own life, for its local socket: info, init, join, leave.

use std::sync::Arc;

use swarm_api::node_control_server::NodeControl;
use swarm_api::{
    InfoRequest, InfoResponse, InitRequest, InitResponse, JoinRequest, JoinResponse, LeaveRequest,
    LeaveResponse, ListSnapshotsRequest, ListSnapshotsResponse, LocalState, ReachRequest,
    ReachResponse, Reached, UnlockRequest, UnlockResponse,
};
use swarm_manager::whereabouts::Told;
use tonic::{Request, Response, Status};

use crate::daemon::Daemon;
use crate::{enter, leave, unlock};

/// More managers than anyone has.
const MAX_ADDRESSES: usize = 16;

/// Serves [`NodeControl`].
pub struct NodeService {
    daemon: Arc<Daemon>,
}

impl NodeService {
    /// Of `daemon`.
    pub fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon }
    }
}

#[tonic::async_trait]
impl NodeControl for NodeService {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let mut info = InfoResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: self.daemon.hostname.clone(),
            ..InfoResponse::default()
        };
        if let Some(locked) = unlock::locked(&self.daemon) {
            info.set_state(LocalState::Locked);
            info.error = unlock::LOCKED.into();
            info.node_id = locked.plate.node_id;
            info.cluster_id = locked.plate.cluster_id;
            info.set_role(locked.plate.role);
            info.addr = locked.settings.advertise_addr;
            info.managers = locked.settings.managers;
        } else if let Some(member) = self.daemon.member.lock().await.as_ref() {
            let identity = member.identity();
            let settings = member.settings().await;
            let manager = member.manager().await;
            let heard = member.news().borrow().is_some();
            info.set_state(if heard { LocalState::InCluster } else { LocalState::Joining });
            let waiting = manager.as_ref().filter(|m| !m.is_ready());
            if let Some(waiting) = waiting {
                info.error = waiting.obstacle();
            } else if !heard {
                let asked = settings.managers.join(", ");
                info.error = format!(
                    "no manager has answered yet (asked {asked}); if they have other addresses \
                     now, name one with 'swarmctl reach ADDRESS'"
                );
            }
            if let Some(word) = member.removed() {
                info.set_state(LocalState::Error);
                info.error = format!("{word}: run 'swarmctl leave', then it may join again");
            }
            info.node_id.clone_from(&identity.node_id);
            info.cluster_id.clone_from(&identity.cluster_id);
            info.set_role(identity.role);
            info.addr = settings.advertise_addr;
            info.managers = match &manager {
                Some(manager) if !manager.managers().is_empty() => {
                    manager.managers().into_iter().map(|(_, addr)| addr).collect()
                }
                _ => settings.managers,
            };
            info.control_available = manager.is_some_and(|m| m.is_ready());
        }
        Ok(Response::new(info))
    }

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        // A client that goes away must not leave half a cluster behind.
        let (daemon, request) = (self.daemon.clone(), request.into_inner());
        let work = tokio::spawn(async move { enter::init(&daemon, request).await });
        let node_id = work.await.map_err(ended)??;
        Ok(Response::new(InitResponse { node_id }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let (daemon, request) = (self.daemon.clone(), request.into_inner());
        let work = tokio::spawn(async move { enter::join(&daemon, request).await });
        let (node_id, role) = work.await.map_err(ended)??;
        Ok(Response::new(JoinResponse { node_id, role: role.into() }))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let (daemon, force) = (self.daemon.clone(), request.into_inner().force);
        let work = tokio::spawn(async move { leave::leave(&daemon, force).await });
        let lost = work.await.map_err(ended)??;
        Ok(Response::new(LeaveResponse { lost }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let (daemon, key) = (self.daemon.clone(), request.into_inner().key);
        let work = tokio::spawn(async move { unlock::unlock(&daemon, &key).await });
        work.await.map_err(ended)??;
        Ok(Response::new(UnlockResponse {}))
    }

    async fn list_snapshots(
        &self,
        _: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let dir = self.daemon.state.snapshots();
        let listing = tokio::task::spawn_blocking(move || swarm_manager::backup::list(&dir));
        let snapshots = listing.await.map_err(ended)?;
        let snapshots = snapshots.map_err(|e| Status::internal(format!("list snapshots: {e}")))?;
        Ok(Response::new(ListSnapshotsResponse { snapshots }))
    }

    async fn reach(
        &self,
        request: Request<ReachRequest>,
    ) -> Result<Response<ReachResponse>, Status> {
        let addrs = request.into_inner().addrs;
        if addrs.is_empty() || addrs.len() > MAX_ADDRESSES {
            let text = format!("{} addresses: want 1 to {MAX_ADDRESSES}", addrs.len());
            return Err(Status::invalid_argument(text));
        }
        let addrs: Vec<String> = addrs.iter().map(|addr| enter::with_port(addr)).collect();
        // Not locked for as long as it takes: the others' answers pass here, too.
        let member = self.daemon.member.lock().await.clone();
        let Some(member) = member else {
            return Err(Status::failed_precondition("this node is not part of a swarm"));
        };
        let told = member.reach(&addrs).await;
        let named = told.into_iter().filter(|told| addrs.contains(&told.target.addr));
        Ok(Response::new(ReachResponse { reached: named.map(reached).collect() }))
    }
}

fn reached(told: Told) -> Reached {
    let is_manager = told.is_manager();
    let (node_id, error) = match told.answer {
        Ok(answer) if is_manager => (answer.node_id, String::new()),
        Ok(_) => (String::new(), "the node there is no manager".into()),
        Err(reason) => (String::new(), reason),
    };
    Reached { addr: told.target.addr, node_id, error }
}

fn ended(error: tokio::task::JoinError) -> Status {
    Status::internal(format!("the operation was cut off: {error}"))
}
