//! What other nodes may ask of this one over mTLS: whether it has an image, and content by digest. For the nodes that the
//! managers told this one of, so a removed one is refused. Content is checked against its digest by the receiver.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use swarm_api::peer_server::Peer;
use swarm_api::{BlobChunk, BlobRef, FetchBlobRequest, FindImageRequest, FindImageResponse};
use swarm_ca::Caller;
use swarm_engine::Engine;
use swarm_engine::image::ImageError;
use tokio::io::AsyncSeekExt;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status};

use crate::assignment::Assignments;
use crate::image_service::status;

/// Large enough that framing costs nothing, far below gRPC's 4 MiB.
const CHUNK: usize = 256 << 10;

/// Serves [`Peer`].
pub struct PeerService {
    engine: Engine,
    assignments: watch::Receiver<Option<Arc<Assignments>>>,
}

impl PeerService {
    /// Of `engine`, for the peers among the assignments.
    pub fn new(engine: Engine, assignments: watch::Receiver<Option<Arc<Assignments>>>) -> Self {
        Self { engine, assignments }
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(Caller::Node { node_id, .. }) = request.extensions().get::<Caller>() else {
            return Err(Status::unauthenticated("only members of the cluster may ask this"));
        };
        let known =
            self.assignments.borrow().as_ref().is_some_and(|s| s.peers.contains_key(node_id));
        match known {
            true => Ok(()),
            false => Err(Status::permission_denied(format!(
                "node {node_id} is not among the nodes that this one knows"
            ))),
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn find_image(
        &self,
        request: Request<FindImageRequest>,
    ) -> Result<Response<FindImageResponse>, Status> {
        self.admit(&request)?;
        let images = self.engine.images();
        let image = match images.get(&request.get_ref().reference).await {
            Ok(image) => image,
            Err(ImageError::NotFound(_)) => return Ok(Response::new(Default::default())),
            Err(error) => return Err(status(error)),
        };
        let blobs = images.manifest_blobs(&image.digest).await.map_err(status)?;
        Ok(Response::new(FindImageResponse {
            found: true,
            blobs: blobs.into_iter().map(|(digest, size)| BlobRef { digest, size }).collect(),
            manifest_digest: image.digest,
        }))
    }

    type FetchBlobStream = Pin<Box<dyn Stream<Item = Result<BlobChunk, Status>> + Send>>;

    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<Self::FetchBlobStream>, Status> {
        self.admit(&request)?;
        let FetchBlobRequest { digest, offset } = request.into_inner();
        let (file, size) = self.engine.images().open_blob(&digest).await.map_err(status)?;
        if offset > size {
            let text = format!("offset {offset} is beyond the {size} bytes of {digest}");
            return Err(Status::out_of_range(text));
        }
        let mut file = tokio::fs::File::from_std(file);
        file.seek(std::io::SeekFrom::Start(offset)).await?;
        let chunks = ReaderStream::with_capacity(file, CHUNK);
        let stream = chunks.map(|chunk| match chunk {
            Ok(data) => Ok(BlobChunk { data }),
            Err(error) => Err(Status::from(error)),
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
