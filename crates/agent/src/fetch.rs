//! Gets an image onto this node: what is here already, else from a node of the cluster that has it (by digest, over mTLS),
//! else from its registry. A name without digest asks the registry first, since only that knows what the name means now.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use swarm_api::peer_client::PeerClient;
use swarm_api::{FetchBlobRequest, FindImageRequest, PeerAssignment};
use swarm_ca::Credentials;
use swarm_engine::image::{Image, ImageError, ImageStore, PullOptions};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::io::StreamReader;
use tonic::transport::Channel;

use crate::assignment::Assignments;

/// A node that does not say by then whether it has an image is passed over.
const FIND_TIMEOUT: Duration = Duration::from_secs(3);
/// Rounds of "what does this manifest need": index, manifest, layers; more means that the image does not make sense.
const ROUNDS_MAX: usize = 4;

/// Why an image cannot be had; the text is shown on the task.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody has it.
    #[error("{registry}; no node of the cluster that answered has it")]
    Nowhere {
        /// What the registry said.
        registry: ImageError,
    },
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] ImageError),
}

/// A shared handle.
#[derive(Clone)]
pub struct Fetcher {
    images: ImageStore,
    credentials: Credentials,
    assignments: watch::Receiver<Option<Arc<Assignments>>>,
    managers: watch::Receiver<Vec<String>>,
    // One fetch per reference at a time: a hundred tasks of one image share it.
    locks: Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>,
}

impl Fetcher {
    /// Fetches into `images`.
    pub fn new(
        images: ImageStore,
        credentials: Credentials,
        assignments: watch::Receiver<Option<Arc<Assignments>>>,
        managers: watch::Receiver<Vec<String>>,
    ) -> Self {
        Self { images, credentials, assignments, managers, locks: Arc::default() }
    }

    /// The image, fetched if it is not here.
    pub async fn ensure(&self, reference: &str) -> Result<Image, FetchError> {
        if let Some(image) = self.local(reference).await? {
            return Ok(image);
        }
        let lock = self.lock_of(reference);
        let _alone = lock.lock().await;
        if let Some(image) = self.local(reference).await? {
            return Ok(image);
        }
        let pinned = reference.contains('@');
        if pinned && let Some(image) = self.ask_peers(reference).await {
            return Ok(image);
        }
        let registry = match self.images.pull(reference, PullOptions::default(), |_| {}).await {
            Ok(image) => return Ok(image),
            Err(error) => error,
        };
        if !pinned && let Some(image) = self.ask_peers(reference).await {
            return Ok(image);
        }
        Err(FetchError::Nowhere { registry })
    }

    /// The digest behind a name, if a node of the cluster has the image.
    pub async fn find_digest(&self, reference: &str) -> Option<String> {
        for peer in &self.sources(reference) {
            let Ok(channel) = self.credentials.peer_channel(&peer.listen_addr, &peer.id) else {
                continue;
            };
            let request = FindImageRequest { reference: reference.to_owned() };
            let asked = timeout(FIND_TIMEOUT, PeerClient::new(channel).find_image(request)).await;
            if let Ok(Ok(answer)) = asked
                && answer.get_ref().found
            {
                return Some(answer.into_inner().manifest_digest);
            }
        }
        None
    }

    /// Nodes to ask. What a name without digest means is believed of managers only: a worker could answer with anything.
    fn sources(&self, reference: &str) -> Vec<PeerAssignment> {
        let Some(set) = self.assignments.borrow().clone() else { return Vec::new() };
        let managers = self.managers.borrow();
        let pinned = reference.contains('@');
        let trusted = |p: &&PeerAssignment| pinned || managers.contains(&p.listen_addr);
        set.peers.values().filter(|p| p.ready).filter(trusted).cloned().collect()
    }

    async fn local(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        match self.images.get(reference).await {
            Ok(image) => Ok(Some(image)),
            Err(ImageError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock_of(&self, reference: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(reference).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(reference.to_owned(), Arc::downgrade(&lock));
        lock
    }

    async fn ask_peers(&self, reference: &str) -> Option<Image> {
        for peer in &self.sources(reference) {
            match self.ask_peer(peer, reference).await {
                Ok(Some(image)) => {
                    tracing::info!(image = %reference, from = %peer.hostname, "image fetched");
                    return Some(image);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(image = %reference, %peer.hostname, %error, "fetch image");
                }
            }
        }
        None
    }

    async fn ask_peer(
        &self,
        peer: &PeerAssignment,
        reference: &str,
    ) -> Result<Option<Image>, Box<dyn std::error::Error + Send + Sync>> {
        let channel = self.credentials.peer_channel(&peer.listen_addr, &peer.id)?;
        let mut client = PeerClient::new(channel);
        let request = FindImageRequest { reference: reference.to_owned() };
        let found = timeout(FIND_TIMEOUT, client.find_image(request)).await??.into_inner();
        if !found.found {
            return Ok(None);
        }
        // A pinned name may name an index, of which the peer's image is one part.
        let digest = reference.split_once('@').map_or(found.manifest_digest.as_str(), |p| p.1);
        self.fetch_all(&mut client, digest).await?;
        Ok(Some(self.images.commit(reference, digest).await?))
    }

    /// Manifest first, then whatever it says it needs.
    async fn fetch_all(
        &self,
        client: &mut PeerClient<Channel>,
        manifest: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.fetch_blob(client, manifest).await?;
        for _ in 0..ROUNDS_MAX {
            let needed = self.images.manifest_blobs(manifest).await?;
            let mut missing = Vec::new();
            for (digest, _) in needed {
                if !self.images.has_blob(&digest).await {
                    missing.push(digest);
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            for digest in missing {
                self.fetch_blob(client, &digest).await?;
            }
        }
        Err("its manifest never becomes complete".into())
    }

    async fn fetch_blob(
        &self,
        client: &mut PeerClient<Channel>,
        digest: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.images.has_blob(digest).await {
            return Ok(());
        }
        let request = FetchBlobRequest { digest: digest.to_owned(), offset: 0 };
        let stream = client.fetch_blob(request).await?.into_inner();
        let stream = stream.map_ok(|chunk| -> Bytes { chunk.data }).map_err(io::Error::other);
        self.images.put_blob(digest, StreamReader::new(Box::pin(stream))).await?;
        Ok(())
    }
}
