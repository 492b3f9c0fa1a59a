//! Makes an image of one layer from a tar of a root file system.
//!
//! The result follows from the tar and the changes alone (no clock), so that it has the same
//! digest wherever it is imported.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::archive::store_manifest;
use super::blobs::MAX_BLOB;
use super::catalog::Record;
use super::compression::{self, Compression};
use super::digest::HashingReader;
use super::error::{Doing, ImageError, Result};
use super::manifest::{
    ConfigFile, Descriptor, Empty, ImageConfig, Manifest, OCI_CONFIG, Platform, RootFs,
};
use super::reference::Reference;
use super::{Image, ImageStore, Inner, Names};

/// How a container of the new image runs by default; what is left empty stays unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageChanges {
    pub cmd: Vec<String>,
    pub entrypoint: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub workdir: String,
    /// `user[:group]`
    pub user: String,
    /// `port[/protocol]`
    pub expose: Vec<String>,
    /// Absolute paths that want a volume.
    pub volumes: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    /// RFC 3339.
    pub created: Option<String>,
}

impl ImageStore {
    /// Imports a root file system, plain or compressed with gzip or zstd, under a name.
    pub async fn import(
        &self,
        rootfs_tar: impl Read + Send + 'static,
        name: &str,
        changes: ImageChanges,
    ) -> Result<Image> {
        let reference = Reference::parse(name)?;
        if reference.digest.is_some() {
            let reason = "the name of a new image cannot have a digest".to_owned();
            return Err(ImageError::InvalidReference { reference: name.to_owned(), reason });
        }
        let tags = [reference.familiar()].into();
        let inner = self.inner.clone();
        let record = super::blocking(move || inner.import(rootfs_tar, changes, tags)).await?;
        let made = record.clone();
        let image = self.with_inner(move |inner| inner.image(&made)).await?;
        // Unpacking shows at once whether this is an archive at all.
        let unpacked = self.unpacked(&image).await;
        self.change(move |inner| {
            if let Err(error) = unpacked {
                let records = inner.catalog.records();
                if !records.images.iter().any(|known| known.digest == record.digest) {
                    inner.remove_content(&record, &records)?;
                }
                return Err(error);
            }
            inner.record(&record.digest, &Names { tags: record.tags, ..Names::default() })
        })
        .await
    }

    /// The same from an asynchronous stream.
    pub async fn import_stream(
        &self,
        rootfs_tar: impl AsyncRead + Send + Unpin + 'static,
        name: &str,
        changes: ImageChanges,
    ) -> Result<Image> {
        self.import(SyncIoBridge::new(rootfs_tar), name, changes).await
    }
}

impl Inner {
    /// Stores layer, configuration and manifest; what it gives is not in the catalog yet.
    fn import(
        &self,
        rootfs_tar: impl Read,
        changes: ImageChanges,
        tags: BTreeSet<String>,
    ) -> Result<Record> {
        let (layer, size) =
            self.blobs.keep(self.blobs.stage(rootfs_tar, "the imported archive")?)?;
        let doing = || "read the imported archive".to_owned();
        let (plain, how) = compression::plain(self.blobs.open_blob(&layer)?.0).doing(doing)?;
        let diff_id = match how {
            Compression::None => layer.clone(),
            _ => HashingReader::new(plain, MAX_BLOB).finish().doing(doing)?.0,
        };
        let platform = Platform::host();
        let config = ConfigFile {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            created: changes.created.clone(),
            config: changes.into(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        };
        let bytes = serde_json::to_vec(&config)
            .map_err(|e| ImageError::Invalid(format!("configuration cannot be written: {e}")))?;
        let (config, config_size) = self.blobs.put_bytes(&bytes)?;
        let manifest = Manifest::oci(
            Descriptor::new(OCI_CONFIG, config.clone(), config_size),
            vec![Descriptor::new(how.layer_media_type(), layer, size)],
        );
        let digest = store_manifest(self, &manifest)?;
        Ok(Record { digest, id: config, tags, digests: BTreeSet::new() })
    }
}

impl From<ImageChanges> for ImageConfig {
    fn from(changes: ImageChanges) -> Self {
        let port = |port: String| match port.contains('/') {
            true => port,
            false => format!("{port}/tcp"),
        };
        let set = |keys: Vec<String>| keys.into_iter().map(|key| (key, Empty {})).collect();
        Self {
            user: changes.user,
            exposed_ports: set(changes.expose.into_iter().map(port).collect()),
            env: changes.env,
            entrypoint: changes.entrypoint,
            cmd: changes.cmd,
            volumes: set(changes.volumes),
            working_dir: changes.workdir,
            labels: changes.labels,
            stop_signal: changes.stop_signal,
            healthcheck: None,
        }
    }
}
