//! Pulls images from registries that speak the OCI distribution protocol.
//!
//! Manifest first, then the missing layers, a few at a time; what an interrupted pull has fetched
//! is gone on with. Every byte is checked against its digest before it counts. Credentials are the
//! caller's and are neither stored nor logged.

mod download;
mod registry;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use self::download::Download;
use self::registry::Registry;
use super::error::Result;
use super::manifest::{Descriptor, Document, Manifest, Platform};
use super::reference::Reference;
use super::{Image, ImageStore, Names, blobs};

/// Layers fetched at the same time: as many as registries commonly let one client have.
const PARALLEL_LAYERS: usize = 4;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Of an image for several platforms, this one; by default this machine's.
    pub platform: Option<Platform>,
    pub auth: Option<RegistryAuth>,
    /// Hosts (`name[:port]`, as in references) that speak HTTP without TLS. Hosts on this machine's
    /// loopback always may.
    pub plain_http_hosts: Vec<String>,
    /// A registry that sends nothing for this long has failed; by default 30 s.
    pub answer_timeout: Option<Duration>,
}

/// Credentials for one registry. They are not printed.
#[derive(Clone)]
pub enum RegistryAuth {
    Basic { user: String, password: String },
    Bearer(String),
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user}, …)"),
            Self::Bearer(_) => write!(f, "Bearer(…)"),
        }
    }
}

/// Where one blob of a pull stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    /// Digest of the blob.
    pub digest: String,
    pub step: PullStep,
    /// Bytes of it that are here.
    pub current: u64,
    /// Its length in bytes.
    pub total: u64,
}

/// What is being done with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStep {
    /// It was here before.
    Exists,
    Downloading,
    /// It has arrived and has the right digest.
    Complete,
    /// All layers are being unpacked; this is the top one.
    Unpacking,
}

impl ImageStore {
    /// Pulls an image and unpacks it. `progress` is called often and must not block.
    pub async fn pull(
        &self,
        name: &str,
        options: PullOptions,
        progress: impl Fn(PullProgress) + Send + Sync,
    ) -> Result<Image> {
        let reference = Reference::parse(name)?;
        let registry = Registry::connect(&reference, &options).await?;
        let platform = options.platform.unwrap_or_else(Platform::host);
        let found = self.find_manifest(&registry, &reference, &platform).await?;

        let mut seen = HashSet::new();
        let blobs: Vec<Descriptor> = found.manifest.blobs().cloned().collect();
        let wanted = blobs.into_iter().filter(|blob| seen.insert(blob.digest.clone()));
        stream::iter(wanted)
            .map(|blob| self.fetch(&registry, blob, &progress))
            .buffer_unordered(PARALLEL_LAYERS)
            .try_collect::<()>()
            .await?;

        let names = Names::of(&reference, &found.pinned);
        let digest = found.digest;
        let image = self.change(move |inner| inner.record(&digest, &names)).await?;
        if let Some(top) = image.layers.last() {
            let (digest, step) = (top.digest.clone(), PullStep::Unpacking);
            progress(PullProgress { digest, step, current: top.size, total: top.size });
        }
        self.unpacked(&image).await?;
        Ok(image)
    }

    /// What a name means in its registry now: the digest of its manifest or index. Fetches no
    /// layers and keeps nothing.
    pub async fn digest_of(&self, name: &str) -> Result<String> {
        let reference = Reference::parse(name)?;
        let registry = Registry::connect(&reference, &PullOptions::default()).await?;
        let (_, digest) = registry.manifest(reference.digest.as_deref()).await?;
        Ok(digest)
    }

    /// Fetches the manifest, by way of an index if there is one, and stores both.
    async fn find_manifest(
        &self,
        registry: &Registry,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<FoundManifest> {
        let (bytes, pinned) = registry.manifest(reference.digest.as_deref()).await?;
        let document = Document::parse(&bytes)?;
        self.with_inner(move |inner| inner.blobs.put_bytes(&bytes)).await?;
        let index = match document {
            Document::Manifest(manifest) => {
                return Ok(FoundManifest { digest: pinned.clone(), pinned, manifest });
            }
            Document::Index(index) => index,
        };
        let entry = index.select(&reference.to_string(), platform)?;
        let (bytes, digest) = registry.manifest(Some(&entry.digest)).await?;
        let Document::Manifest(manifest) = Document::parse(&bytes)? else {
            let reason = format!("index entry {digest} is an index again");
            return Err(super::ImageError::Unsupported(reason));
        };
        self.with_inner(move |inner| inner.blobs.put_bytes(&bytes)).await?;
        Ok(FoundManifest { digest, pinned, manifest })
    }

    /// Fetches one blob, unless it is here. Pulls that want the same blob wait for each other.
    async fn fetch(
        &self,
        registry: &Registry,
        blob: Descriptor,
        progress: &(impl Fn(PullProgress) + Send + Sync),
    ) -> Result<()> {
        let report = |step, current| {
            let (digest, total) = (blob.digest.clone(), blob.size);
            progress(PullProgress { digest, step, current, total });
        };
        let _lock = self.inner.downloads.lock(&blob.digest).await;
        if self.has_blob(&blob.digest).await {
            report(PullStep::Exists, blob.size);
            return Ok(());
        }
        let part = self.partial(&blob.digest)?;
        let on_bytes = |current| report(PullStep::Downloading, current);
        let path = self.inner.blobs.path(&blob.digest)?;
        Download { registry, blob: &blob, part, path }.run(&on_bytes).await?;
        report(PullStep::Complete, blob.size);
        Ok(())
    }

    /// Where an unfinished download lies, also across restarts.
    fn partial(&self, digest: &str) -> Result<PathBuf> {
        let name = super::digest::hex_of(digest)?;
        let dir = self.inner.root.join("partial");
        blobs::make_dir(&dir)?;
        Ok(dir.join(name))
    }
}

struct FoundManifest {
    /// Of the manifest.
    digest: String,
    /// Of the document behind the name: the manifest or an index.
    pinned: String,
    manifest: Manifest,
}
