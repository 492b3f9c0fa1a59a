//! The node's own images, for its local socket: list, resolve, pull, load, import, tag, remove.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use swarm_api::images_server::Images;
use swarm_api::time::timestamp;
use swarm_api::{
    Image, ImageProgress, ImportImageRequest, ImportImageResponse, ListImagesRequest,
    ListImagesResponse, LoadImageRequest, LoadImageResponse, PullImageRequest, RemoveImageRequest,
    RemoveImageResponse, ResolveImageRequest, ResolveImageResponse, TagImageRequest,
    TagImageResponse,
};
use swarm_engine::Engine;
use swarm_engine::image::{
    self, ImageChanges, ImageError, PullOptions, PullProgress, PullStep, RegistryAuth, Removed,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::fetch::Fetcher;

/// Steps of a pull that wait for a slow client.
const PROGRESS_QUEUE: usize = 64;

/// The fetcher of the cluster that the node is in, if it is in one.
pub type FetcherSource = Arc<dyn Fn() -> Option<Fetcher> + Send + Sync>;

/// Serves [`Images`].
pub struct ImageService {
    engine: Engine,
    fetcher: FetcherSource,
}

impl ImageService {
    /// Of `engine`; while there is a fetcher, names are also looked for on the other nodes.
    pub fn new(engine: Engine, fetcher: FetcherSource) -> Self {
        Self { engine, fetcher }
    }

    fn used(&self) -> std::collections::HashSet<String> {
        self.engine.list().into_iter().map(|c| c.image_id).collect()
    }
}

#[tonic::async_trait]
impl Images for ImageService {
    async fn list_images(
        &self,
        _: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let list = self.engine.images().list().await.map_err(status)?;
        let images = list
            .into_iter()
            .map(|i| Image {
                id: i.id,
                digest: i.digest,
                repo_tags: i.repo_tags,
                created: i.created.as_deref().and_then(parse_time),
                size: i.size,
            })
            .collect();
        Ok(Response::new(ListImagesResponse { images }))
    }

    async fn resolve_image(
        &self,
        request: Request<ResolveImageRequest>,
    ) -> Result<Response<ResolveImageResponse>, Status> {
        let reference = request.into_inner().reference;
        let parsed = swarm_api::image::ImageRef::parse(&reference)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let images = self.engine.images();
        let digest = match images.get(&reference).await {
            Ok(image) => image.digest,
            Err(ImageError::NotFound(_)) => match images.digest_of(&reference).await {
                Ok(digest) => digest,
                Err(error) => match self.digest_from_peers(&reference).await {
                    Some(digest) => digest,
                    None => return Err(status(error)),
                },
            },
            Err(error) => return Err(status(error)),
        };
        let pinned = parsed.pinned(&digest).familiar();
        Ok(Response::new(ResolveImageResponse { pinned, platforms: Vec::new() }))
    }

    type PullImageStream = Pin<Box<dyn Stream<Item = Result<ImageProgress, Status>> + Send>>;

    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        let request = request.into_inner();
        let auth = (!request.username.is_empty())
            .then_some(RegistryAuth::Basic { user: request.username, password: request.password });
        let options = PullOptions { auth, ..PullOptions::default() };
        let images = self.engine.images().clone();
        let (sender, receiver) = mpsc::channel(PROGRESS_QUEUE);
        let pulling = tokio::spawn(async move {
            let steps = sender.clone();
            // A client that reads slowly misses steps, never the outcome.
            let report = move |p: PullProgress| drop(steps.try_send(Ok(progress(&p))));
            let last = match images.pull(&request.reference, options, report).await {
                Ok(image) => Ok(ImageProgress {
                    status: "pulled".into(),
                    image: Some(of(&image)),
                    ..ImageProgress::default()
                }),
                Err(error) => Err(status(error)),
            };
            let _ = sender.send(last).await;
        });
        // A client that goes away ends the pull; what was fetched is kept for the next one.
        let guard = AbortOnDropHandle::new(pulling);
        let stream = ReceiverStream::new(receiver).map(move |step| {
            let _ = &guard;
            step
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<LoadImageRequest>>,
    ) -> Result<Response<LoadImageResponse>, Status> {
        let chunks = request.into_inner().map_ok(|r| io::Cursor::new(r.chunk));
        let reader = StreamReader::new(chunks.map_err(io::Error::other));
        let images = self.engine.images();
        let loaded = images.load_stream(Box::pin(reader)).await.map_err(status)?;
        let mut answer = LoadImageResponse::default();
        for loaded in loaded {
            let image = images.get(&loaded.digest).await.map_err(status)?;
            // Names that it had before were not loaded.
            let repo_tags = loaded.reference.into_iter().collect();
            answer.images.push(Image { repo_tags, ..of(&image) });
        }
        Ok(Response::new(answer))
    }

    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Result<Response<ImportImageResponse>, Status> {
        let mut stream = request.into_inner();
        let missing = || Status::invalid_argument("the first message names the image");
        let first = stream.message().await?.ok_or_else(missing)?;
        let changes = changes(&first.changes)?;
        let head = futures::stream::iter([Ok(io::Cursor::new(first.chunk))]);
        let rest = stream.map_ok(|r| io::Cursor::new(r.chunk)).map_err(io::Error::other);
        let reader = StreamReader::new(head.chain(rest));
        let images = self.engine.images();
        let imported = images.import_stream(Box::pin(reader), &first.reference, changes).await;
        Ok(Response::new(ImportImageResponse { image: Some(of(&imported.map_err(status)?)) }))
    }

    async fn tag_image(
        &self,
        request: Request<TagImageRequest>,
    ) -> Result<Response<TagImageResponse>, Status> {
        let request = request.into_inner();
        self.engine.images().tag(&request.source, &request.target).await.map_err(status)?;
        Ok(Response::new(TagImageResponse {}))
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        let request = request.into_inner();
        let used = self.used();
        let images = self.engine.images();
        let removed = images.remove(&request.reference, request.force, used).await;
        let mut answer = RemoveImageResponse::default();
        for item in removed.map_err(status)? {
            match item {
                Removed::Untagged(name) => answer.untagged.push(name),
                Removed::Deleted(digest) => answer.deleted.push(digest),
            }
        }
        Ok(Response::new(answer))
    }
}

impl ImageService {
    async fn digest_from_peers(&self, reference: &str) -> Option<String> {
        (self.fetcher)()?.find_digest(reference).await
    }
}

fn of(image: &image::Image) -> Image {
    Image {
        id: image.id.clone(),
        digest: image.digest.clone(),
        repo_tags: image.repo_tags.clone(),
        created: image.created.as_deref().and_then(parse_time),
        size: image.size,
    }
}

fn parse_time(text: &str) -> Option<prost_types::Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(timestamp(time.into()))
}

fn progress(step: &PullProgress) -> ImageProgress {
    ImageProgress {
        id: step.digest.clone(),
        status: match step.step {
            PullStep::Exists => "already exists",
            PullStep::Downloading => "downloading",
            PullStep::Complete => "download complete",
            PullStep::Unpacking => "unpacking",
        }
        .into(),
        current: step.current,
        total: step.total,
        image: None,
    }
}

/// Dockerfile instructions: `CMD ["a"]`, `ENV K=V`, ….
fn changes(lines: &[String]) -> Result<ImageChanges, Status> {
    let mut changes = ImageChanges::default();
    for line in lines {
        let bad = |why: &str| Status::invalid_argument(format!("invalid change \"{line}\": {why}"));
        let (instruction, value) =
            line.trim().split_once(' ').ok_or_else(|| bad("want INSTRUCTION value"))?;
        let value = value.trim();
        match instruction.to_ascii_uppercase().as_str() {
            "CMD" => changes.cmd = command(value).map_err(|e| bad(&e))?,
            "ENTRYPOINT" => changes.entrypoint = command(value).map_err(|e| bad(&e))?,
            "ENV" => changes.env.push(value.to_owned()),
            "WORKDIR" => value.clone_into(&mut changes.workdir),
            "USER" => value.clone_into(&mut changes.user),
            "EXPOSE" => changes.expose.push(value.to_owned()),
            "VOLUME" => changes.volumes.push(value.to_owned()),
            "STOPSIGNAL" => value.clone_into(&mut changes.stop_signal),
            "LABEL" => {
                let (k, v) = value.split_once('=').ok_or_else(|| bad("want LABEL key=value"))?;
                changes.labels.insert(k.to_owned(), v.trim_matches('"').to_owned());
            }
            _ => {
                return Err(bad(
                    "want CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, VOLUME, STOPSIGNAL or LABEL",
                ));
            }
        }
    }
    Ok(changes)
}

/// A JSON array, or a line for the shell.
fn command(value: &str) -> Result<Vec<String>, String> {
    if value.starts_with('[') {
        return serde_json::from_str(value).map_err(|e| e.to_string());
    }
    Ok(vec!["/bin/sh".into(), "-c".into(), value.to_owned()])
}

pub(crate) fn status(error: ImageError) -> Status {
    let text = error.to_string();
    match error {
        ImageError::NotFound(_) | ImageError::NotInRegistry { .. } => Status::not_found(text),
        ImageError::InvalidReference { .. }
        | ImageError::Ambiguous { .. }
        | ImageError::InvalidDigest(_)
        | ImageError::Invalid(_)
        | ImageError::Unsupported(_)
        | ImageError::UnsafeEntry { .. }
        | ImageError::OverLimit { .. }
        | ImageError::WrongPlatform { .. } => Status::invalid_argument(text),
        ImageError::Conflict { .. } => Status::failed_precondition(text),
        ImageError::Unauthorized { .. } => Status::permission_denied(text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_dockerfile_instructions() {
        let lines = ["CMD [\"sh\", \"-c\"]", "ENV A=b c", "LABEL k=\"v w\""].map(String::from);
        let read = changes(&lines).unwrap();
        assert_eq!(read.cmd, ["sh", "-c"]);
        assert_eq!(read.env, ["A=b c"]);
        assert_eq!(read.labels["k"], "v w");
        assert!(changes(&["RUN x".to_owned()]).is_err());
    }
}
