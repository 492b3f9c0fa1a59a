//! What other nodes may ask of this one over mTLS: whether it has an image, and content by digest. Members only; content is
//! checked against its digest by the receiver, so a lying node does no harm.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use swarm_api::peer_server::Peer;
use swarm_api::{BlobChunk, BlobRef, FetchBlobRequest, FindImageRequest, FindImageResponse};
use swarm_ca::Caller;
use swarm_engine::Engine;
use swarm_engine::image::ImageError;
use tokio::io::AsyncSeekExt;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status};

use crate::image_service::status;

/// Large enough that framing costs nothing, far below gRPC's 4 MiB.
const CHUNK: usize = 256 << 10;

/// Serves [`Peer`].
pub struct PeerService {
    engine: Engine,
}

impl PeerService {
    /// Of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn find_image(
        &self,
        request: Request<FindImageRequest>,
    ) -> Result<Response<FindImageResponse>, Status> {
        member(&request)?;
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
        member(&request)?;
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

fn member<T>(request: &Request<T>) -> Result<(), Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Node { .. } | Caller::Local) => Ok(()),
        _ => Err(Status::unauthenticated("only members of the cluster may ask this")),
    }
}
