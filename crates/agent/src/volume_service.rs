//! The node's own volumes, for its local socket.

use swarm_api::volumes_server::Volumes;
use swarm_api::{
    CreateVolumeRequest, CreateVolumeResponse, ListVolumesRequest, ListVolumesResponse,
    RemoveVolumeRequest, RemoveVolumeResponse, Volume, name,
};
use swarm_engine::{Engine, EngineError, volume};
use tonic::{Request, Response, Status};

/// Serves [`Volumes`].
pub struct VolumeService {
    engine: Engine,
}

impl VolumeService {
    /// Of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl Volumes for VolumeService {
    async fn list_volumes(
        &self,
        _: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let list = self.engine.volumes().list().await.map_err(status)?;
        let volumes = list.into_iter().map(of).collect();
        Ok(Response::new(ListVolumesResponse { volumes }))
    }

    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        name::local(&request.name).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let made = self
            .engine
            .volumes()
            .create(&request.name, "local", request.labels, Default::default())
            .await;
        Ok(Response::new(CreateVolumeResponse { volume: Some(of(made.map_err(status)?)) }))
    }

    async fn remove_volume(
        &self,
        request: Request<RemoveVolumeRequest>,
    ) -> Result<Response<RemoveVolumeResponse>, Status> {
        let request = request.into_inner();
        match self.engine.volumes().remove(&request.name).await {
            Err(EngineError::VolumeNotFound(_)) if request.force => {}
            other => other.map_err(status)?,
        }
        Ok(Response::new(RemoveVolumeResponse {}))
    }
}

fn of(volume: volume::Volume) -> Volume {
    Volume {
        name: volume.name,
        driver: "local".into(),
        labels: volume.labels,
        mountpoint: volume.mountpoint.display().to_string(),
    }
}

fn status(error: EngineError) -> Status {
    let text = error.to_string();
    match error {
        EngineError::VolumeNotFound(_) => Status::not_found(text),
        EngineError::VolumeInUse { .. } => Status::failed_precondition(text),
        EngineError::InvalidVolume { .. } => Status::invalid_argument(text),
        _ => Status::internal(text),
    }
}
