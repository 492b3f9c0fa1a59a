//! Loads images from archives: `docker save`'s format, the OCI layout, and both in one.
//!
//! An archive may come from a pipe, so it is read once, front to back: small documents stay in
//! memory, everything else goes to temporary files and is hashed on the way. Only then is its
//! meaning known and the content kept. A docker archive has no OCI manifest; the one made here
//! follows from the archive's content alone, so that every node gives the image the same digest.

mod docker;
mod layout;

pub(super) use self::docker::store_manifest;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use tar::EntryType;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::blobs::{MAX_BLOB, Staged};
use super::compression;
use super::digest::{self, HashingReader};
use super::error::{Doing, ImageError, Result};
use super::manifest::{ConfigFile, MAX_JSON, json};
use super::{ImageStore, Inner, Names};

/// Most files of an archive: a guard, far above real ones.
const MAX_FILES: usize = 20_000;
/// Most links that lead to one file.
const MAX_HOPS: usize = 8;
/// Documents that are looked at by name; they are kept in memory.
const DOCUMENTS: [&str; 3] = ["manifest.json", "index.json", "oci-layout"];

/// One name that an archive brought; images without names are reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// Familiar `name:tag`.
    pub reference: Option<String>,
    /// Digest of the manifest.
    pub digest: String,
    /// Digest of the configuration.
    pub id: String,
}

impl ImageStore {
    /// Loads every image of an archive, which may be compressed with gzip or zstd.
    pub async fn load(&self, archive: impl Read + Send + 'static) -> Result<Vec<LoadedImage>> {
        let inner = self.inner.clone();
        let contents = super::blocking(move || Contents::read(&inner, archive)).await?;
        self.change(move |inner| contents.load(inner)).await
    }

    /// The same from an asynchronous stream.
    pub async fn load_stream(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Vec<LoadedImage>> {
        self.load(SyncIoBridge::new(archive)).await
    }
}

/// What an archive holds, by name.
#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    files: HashMap<String, Staged>,
    links: HashMap<String, String>,
}

impl Contents {
    fn read(inner: &Inner, archive: impl Read) -> Result<Self> {
        let malformed = |e: std::io::Error| ImageError::Invalid(format!("image archive: {e}"));
        let (plain, _) = compression::plain(archive).map_err(malformed)?;
        let mut archive = tar::Archive::new(plain);
        let mut contents = Self::default();
        for entry in archive.entries().map_err(malformed)? {
            let mut entry = entry.map_err(malformed)?;
            let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
            let target = entry.link_name_bytes().map(|t| String::from_utf8_lossy(&t).into_owned());
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    contents.take(inner, name, &mut entry)?;
                }
                EntryType::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let target = format!("{folder}/{}", target.unwrap_or_default());
                    contents.links.insert(name, normal(&target));
                }
                EntryType::Link => {
                    contents.links.insert(name, normal(&target.unwrap_or_default()));
                }
                _ => {}
            }
            if contents.files.len() + contents.links.len() > MAX_FILES {
                let what = "the number of files in the image archive".to_owned();
                return Err(ImageError::OverLimit { what, limit: MAX_FILES as u64 });
            }
        }
        Ok(contents)
    }

    fn take(&mut self, inner: &Inner, name: String, content: &mut impl Read) -> Result<()> {
        let what = format!("\"{name}\" of the image archive");
        if DOCUMENTS.contains(&name.as_str()) {
            let mut bytes = Vec::new();
            content.take(MAX_JSON + 1).read_to_end(&mut bytes).doing(|| format!("read {what}"))?;
            if bytes.len() as u64 > MAX_JSON {
                return Err(ImageError::OverLimit { what, limit: MAX_JSON });
            }
            self.documents.insert(name, bytes);
        } else {
            let staged = inner.blobs.stage(content, &what)?;
            self.files.insert(name, staged);
        }
        Ok(())
    }

    /// Callers hold the store's `changes`.
    fn load(mut self, inner: &Inner) -> Result<Vec<LoadedImage>> {
        let images = if self.documents.contains_key("index.json") {
            layout::images(&mut self, inner)?
        } else if self.documents.contains_key("manifest.json") {
            docker::images(&mut self, inner)?
        } else {
            return Err(ImageError::Invalid(
                "the archive holds neither manifest.json nor index.json; a plain root file system \
                 is imported, not loaded"
                    .to_owned(),
            ));
        };
        let mut loaded = Vec::new();
        for (digest, names) in images {
            let image = inner.record(&digest, &names)?;
            let one = |reference| LoadedImage {
                reference,
                digest: image.digest.clone(),
                id: image.id.clone(),
            };
            match names.tags.is_empty() {
                true => loaded.push(one(None)),
                false => loaded.extend(names.tags.into_iter().map(|tag| one(Some(tag)))),
            }
        }
        Ok(loaded)
    }

    /// Parses a document that is known to be there.
    fn document<T: for<'de> serde::Deserialize<'de>>(&self, name: &str) -> Result<T> {
        json(self.documents.get(name).map(Vec::as_slice).unwrap_or_default(), name)
    }

    /// The name of the file that `name` leads to.
    fn follow(&self, name: &str) -> Result<String> {
        let mut name = normal(name);
        for _ in 0..MAX_HOPS {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => return Ok(name),
            }
        }
        Err(ImageError::Invalid(format!("\"{name}\" of the image archive is a loop of links")))
    }

    /// Moves a file into the content store, unless that was done before.
    fn keep(&mut self, inner: &Inner, name: &str) -> Result<(String, u64)> {
        let name = self.follow(name)?;
        let staged = self.files.remove(&name).ok_or_else(|| {
            ImageError::Invalid(format!("the image archive lacks \"{name}\", which it refers to"))
        })?;
        inner.blobs.keep(staged)
    }
}

/// Checks that each layer is what the configuration says, and tells how each is compressed.
fn check_layers(
    inner: &Inner,
    config: &ConfigFile,
    layers: &[String],
) -> Result<Vec<compression::Compression>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(ImageError::Invalid(format!(
            "the archive has {} layers but its configuration has {}",
            layers.len(),
            diff_ids.len()
        )));
    }
    let mut compressions = Vec::with_capacity(layers.len());
    for (digest, diff_id) in layers.iter().zip(diff_ids) {
        let what = format!("layer {digest}");
        let doing = || format!("read {what}");
        let (file, _) = inner.blobs.open_blob(digest)?;
        let (plain, compression) = compression::plain(file).doing(doing)?;
        if compression == compression::Compression::None {
            super::blobs::verify(&what, diff_id, digest)?;
        } else {
            let (actual, _) = HashingReader::new(plain, MAX_BLOB).finish().doing(doing)?;
            super::blobs::verify(&format!("the uncompressed {what}"), diff_id, &actual)?;
        }
        compressions.push(compression);
    }
    Ok(compressions)
}

/// A name within the archive without `.`, `..` and doubled slashes. Only ever used as a key.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The archive's name for a blob.
fn blob_name(digest: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", digest::hex_of(digest)?))
}

/// An image and the names it gets.
type Found = (String, Names);
