//! The images of one node: content by digest, names, and unpacked layers.
//!
//! Images come in from archives ([`ImageStore::load`]), root file systems
//! ([`ImageStore::import`]), registries ([`ImageStore::pull`]) and other nodes
//! ([`ImageStore::put_blob`], then [`ImageStore::commit`]). Whatever the way, an image ends up as
//! an OCI manifest, a configuration and layers in one content store, under the same digests on
//! every node. Knows nothing of containers: who removes an image says which ones are in use.
//! The engine's container side and the agent call it.

mod archive;
mod blobs;
mod catalog;
mod compression;
mod digest;
mod error;
mod import;
mod layers;
mod manifest;
mod pull;
mod reference;
mod remove;
mod save;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use self::blobs::Blobs;
use self::catalog::{Catalog, Record};
use self::error::Doing;
use self::layers::{KeyedLocks, Layers};
use self::manifest::{ConfigFile, Descriptor, Document, Manifest};

pub use self::archive::LoadedImage;
pub use self::error::{ImageError, Result};
pub use self::import::ImageChanges;
pub use self::manifest::{Empty, Healthcheck, Image, ImageConfig, Layer, Platform};
pub use self::pull::{PullOptions, PullProgress, PullStep, RegistryAuth};
pub use self::reference::Reference;
pub use self::remove::Removed;

/// Blobs that no image uses are kept this long, for an interrupted pull to go on.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Handle to the image store; clones share it.
#[derive(Clone, Debug)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    blobs: Blobs,
    layers: Layers,
    catalog: Catalog,
    /// Held by whoever changes the catalog, or removes content on its word.
    changes: Arc<tokio::sync::Mutex<()>>,
    downloads: KeyedLocks,
}

/// One line of a list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: String,
    pub digest: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    /// RFC 3339; `None` when the configuration does not say.
    pub created: Option<String>,
    /// Bytes of all its blobs as they are stored.
    pub size: u64,
}

impl ImageStore {
    /// Opens the store in `root`, creating it if need be, and removes what a crash left behind.
    /// One process at a time may have a store open.
    pub async fn open(root: PathBuf) -> Result<Self> {
        blocking(move || {
            blobs::make_dir(&root)?;
            clear(&root.join("tmp"))?;
            let inner = Inner {
                blobs: Blobs::open(&root)?,
                layers: Layers::open(&root)?,
                catalog: Catalog::open(&root)?,
                changes: Arc::default(),
                downloads: KeyedLocks::default(),
                root,
            };
            inner.remove_orphans(SystemTime::now() - ORPHAN_AGE)?;
            Ok(Self { inner: Arc::new(inner) })
        })
        .await
    }

    /// All images, by name.
    pub async fn list(&self) -> Result<Vec<ImageSummary>> {
        self.with_inner(|inner| {
            let records = inner.catalog.records();
            let mut list = Vec::with_capacity(records.images.len());
            for record in &records.images {
                let image = match inner.image(record) {
                    Ok(image) => image,
                    Err(error) => {
                        tracing::warn!(image = record.digest, %error, "an image is damaged");
                        continue;
                    }
                };
                list.push(ImageSummary {
                    id: image.id,
                    digest: image.digest,
                    repo_tags: image.repo_tags,
                    repo_digests: image.repo_digests,
                    created: image.created,
                    size: image.size,
                });
            }
            list.sort_by(|a, b| (&a.repo_tags, &a.id).cmp(&(&b.repo_tags, &b.id)));
            Ok(list)
        })
        .await
    }

    /// Finds an image by name (`web`, `web:1`), by `name[:tag]@digest`, by digest or id, or by the
    /// beginning of an id.
    pub async fn get(&self, name: &str) -> Result<Image> {
        let name = name.to_owned();
        self.with_inner(move |inner| inner.image(inner.catalog.records().find(&name)?)).await
    }

    /// Gives an image one more name; takes the name away from the image that had it.
    pub async fn tag(&self, name: &str, new: &str) -> Result<()> {
        let reference = Reference::parse(new)?;
        if reference.digest.is_some() {
            let reason = "a new name cannot have a digest".to_owned();
            return Err(ImageError::InvalidReference { reference: new.to_owned(), reason });
        }
        let name = name.to_owned();
        self.change(move |inner| {
            let mut records = inner.catalog.records().as_ref().clone();
            let mut record = records.find(&name)?.clone();
            record.tags.insert(reference.familiar());
            records.add(record);
            inner.catalog.publish(records)
        })
        .await
    }

    /// Folders for overlayfs, the TOP layer first. Unpacks what is not unpacked yet. Their owner
    /// and mode are the image's, so an upper directory should copy those of the first.
    pub async fn unpacked(&self, image: &Image) -> Result<Vec<PathBuf>> {
        if image.layers.is_empty() {
            return self.with_inner(|inner| Ok(vec![inner.layers.empty()?])).await;
        }
        let mut dirs = Vec::with_capacity(image.layers.len());
        for layer in image.layers.iter().rev() {
            let path = self.inner.layers.path(&layer.chain_id)?;
            if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
                // The lock goes along: a caller that is cancelled must not let a second one start.
                let lock = self.inner.layers.locks.lock(&layer.chain_id).await;
                let layer = layer.clone();
                self.with_inner(move |inner| {
                    let _lock = lock;
                    inner.layers.unpack(&inner.blobs, &layer)
                })
                .await?;
            }
            dirs.push(path);
        }
        Ok(dirs)
    }

    /// Whether this node has the content with this digest, complete.
    pub async fn has_blob(&self, digest: &str) -> bool {
        let digest = digest.to_owned();
        self.with_inner(move |inner| Ok(inner.blobs.has(&digest))).await.unwrap_or(false)
    }

    /// Content by digest and its length in bytes, to send to another node.
    pub async fn open_blob(&self, digest: &str) -> Result<(fs::File, u64)> {
        let digest = digest.to_owned();
        self.with_inner(move |inner| inner.blobs.open_blob(&digest)).await
    }

    /// Stores content that must have the digest `expected`; nothing is left when it has not.
    pub async fn put_blob(
        &self,
        expected: &str,
        reader: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<()> {
        let expected = expected.to_owned();
        let reader = SyncIoBridge::new(reader);
        self.with_inner(move |inner| inner.blobs.put(&expected, reader)).await
    }

    /// Digests and lengths in bytes of what an image needs besides the manifest (or index) with
    /// this digest, which must be here. Of an index, that is this machine's manifest alone until
    /// that is here too: a fetching node asks until nothing is missing, then commits.
    pub async fn manifest_blobs(&self, digest: &str) -> Result<Vec<(String, u64)>> {
        let digest = digest.to_owned();
        self.with_inner(move |inner| inner.needed_by(&digest)).await
    }

    /// Names an image whose content was put here blob by blob, by the digest of its manifest or
    /// index. Says which blob is missing. A name with a digest must have that digest; its tag
    /// names the image too, unless another image has it.
    pub async fn commit(&self, name: &str, digest: &str) -> Result<Image> {
        let reference = Reference::parse(name)?;
        let digest = digest.to_owned();
        self.change(move |inner| inner.commit(&reference, &digest)).await
    }

    /// Runs `f` with the store off the runtime.
    async fn with_inner<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        blocking(move || f(&inner)).await
    }

    /// The same, alone among those that change the catalog.
    async fn change<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lock = self.inner.changes.clone().lock_owned().await;
        self.with_inner(move |inner| {
            let _lock = lock;
            f(inner)
        })
        .await
    }
}

/// Names to give to an image.
#[derive(Clone, Debug, Default)]
struct Names {
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
    /// Leave tags that other images have with them.
    spare_others: bool,
}

impl Names {
    /// The tag of a reference, and `digest` under its name.
    fn of(reference: &Reference, digest: &str) -> Self {
        Self {
            tags: reference.tag.iter().map(|_| reference.familiar()).collect(),
            digests: [format!("{}@{digest}", reference.familiar_name())].into(),
            spare_others: reference.digest.is_some(),
        }
    }

    fn any(&self) -> String {
        self.tags.first().or(self.digests.first()).cloned().unwrap_or_default()
    }
}

impl Inner {
    fn manifest(&self, digest: &str) -> Result<Manifest> {
        match Document::parse(&self.blobs.read_json(digest)?)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => {
                Err(ImageError::Invalid(format!("{digest} is an index, not a manifest")))
            }
        }
    }

    /// The manifest behind the digest of a manifest or of an index.
    fn resolve(&self, digest: &str) -> Result<Descriptor> {
        let bytes = self.blobs.read_json(digest)?;
        match Document::parse(&bytes)? {
            Document::Index(index) => index.select(digest, &Platform::host()).cloned(),
            Document::Manifest(_) => {
                Ok(Descriptor::new(manifest::OCI_MANIFEST, digest.to_owned(), bytes.len() as u64))
            }
        }
    }

    fn needed_by(&self, digest: &str) -> Result<Vec<(String, u64)>> {
        let resolved = self.resolve(digest)?;
        let mut needed = Vec::new();
        if resolved.digest != digest {
            needed.push((resolved.digest.clone(), resolved.size));
        }
        if self.blobs.has(&resolved.digest) {
            let manifest = self.manifest(&resolved.digest)?;
            needed.extend(manifest.blobs().map(|blob| (blob.digest.clone(), blob.size)));
        }
        Ok(needed)
    }

    /// Callers hold `changes`.
    fn commit(&self, reference: &Reference, digest: &str) -> Result<Image> {
        let names = Names::of(reference, digest);
        digest::hex_of(digest)?;
        if !self.blobs.has(digest) {
            return Err(ImageError::MissingBlob { image: names.any(), digest: digest.to_owned() });
        }
        let resolved = self.resolve(digest)?;
        if let Some(pinned) = reference.digest.as_deref()
            && pinned != digest
        {
            blobs::verify(&format!("the manifest of {reference}"), pinned, &resolved.digest)?;
        }
        self.record(&resolved.digest, &names)
    }

    fn image(&self, record: &Record) -> Result<Image> {
        let manifest = self.manifest(&record.digest)?;
        let config = ConfigFile::parse(&self.blobs.read_json(&manifest.config.digest)?)?;
        let mut image = Image::build(&record.digest, &manifest, config)?;
        image.repo_tags = record.tags.iter().cloned().collect();
        image.repo_digests = record.digests.iter().cloned().collect();
        Ok(image)
    }

    /// Records an image, all of whose blobs must be here. Callers hold `changes`.
    fn record(&self, digest: &str, names: &Names) -> Result<Image> {
        let missing = |digest: &str| ImageError::MissingBlob {
            image: names.any(),
            digest: digest.to_owned(),
        };
        if !self.blobs.has(digest) {
            return Err(missing(digest));
        }
        let manifest = self.manifest(digest)?;
        if let Some(blob) = self.blobs.missing(&manifest) {
            return Err(missing(blob));
        }
        let mut records = self.catalog.records().as_ref().clone();
        let taken = |tag: &String| records.find_tag(tag).is_some_and(|it| it.digest != digest);
        let tags = names.tags.iter().filter(|tag| !names.spare_others || !taken(tag));
        let record = Record {
            digest: digest.to_owned(),
            id: manifest.config.digest,
            tags: tags.cloned().collect(),
            digests: names.digests.clone(),
        };
        // A configuration that does not fit must not get into the catalog.
        self.image(&record)?;
        let known = records.add(record).clone();
        self.catalog.publish(records)?;
        self.image(&known)
    }
}

/// Runs `f` on a thread that may block.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ImageError::Interrupted),
        },
    }
}

/// Removes a folder of things that were never finished.
fn clear(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).doing(|| format!("clear folder {}", dir.display()))
        }
        _ => Ok(()),
    }
}
