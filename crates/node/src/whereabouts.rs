//! Answers managers that say where they are now, on every node: a manager that moved may find the others through a worker.

use std::sync::Arc;
use std::time::Duration;

use swarm_api::whereabouts_server::Whereabouts;
use swarm_api::{AnnounceRequest, AnnounceResponse, ManagerPlace, NodeRole};
use swarm_ca::Caller;
use tonic::{Request, Response, Status};

use crate::daemon::Daemon;

/// A membership that begins or ends keeps callers waiting no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves [`Whereabouts`].
pub struct WhereaboutsService {
    daemon: Arc<Daemon>,
}

impl WhereaboutsService {
    /// Of the node that `daemon` makes.
    pub fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon }
    }
}

#[tonic::async_trait]
impl Whereabouts for WhereaboutsService {
    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        let Caller::Node { role, .. } = &caller else {
            return Err(Status::permission_denied("only nodes of the swarm may ask"));
        };
        let addr = request.into_inner().addr;
        if !addr.is_empty() && *role != NodeRole::Manager {
            return Err(Status::permission_denied("only managers say where they are"));
        }
        let busy = || Status::unavailable("this node is about to join or leave");
        let place = tokio::time::timeout(PATIENCE, self.daemon.member.lock()).await;
        let member = place.map_err(|_| busy())?.clone().ok_or_else(busy)?;
        if !addr.is_empty() {
            member.heard(&caller, &addr).await?;
        }
        let managers = member.book().places().into_iter();
        let answer = AnnounceResponse {
            node_id: member.identity().node_id.clone(),
            addr: match member.manager().await {
                Some(_) => member.settings().await.advertise_addr,
                None => String::new(),
            },
            managers: managers.map(|(node_id, addr)| ManagerPlace { node_id, addr }).collect(),
        };
        Ok(Response::new(answer))
    }
}
