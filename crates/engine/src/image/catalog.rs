//! Which images this node has, and under which names: `images.json` under the store's root.
//!
//! One small file, replaced atomically, so that a name moves from one image to another in one step.
//! Holds no content; the store checks that content is there before it records an image.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::blobs::sync_dir;
use super::digest;
use super::error::{Doing, ImageError, Result};
use super::manifest::json;
use super::reference::Reference;

/// One image and its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Digest of the manifest.
    pub digest: String,
    /// Digest of the configuration.
    pub id: String,
    /// Familiar `name:tag`s. A tag belongs to at most one image.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Familiar `name@digest`s it was pulled as. The digest may be that of an index.
    #[serde(default)]
    pub digests: BTreeSet<String>,
}

impl Record {
    /// Digests among the names, which may be those of indexes.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &str> {
        self.digests.iter().filter_map(|name| name.split_once('@')).map(|(_, digest)| digest)
    }

    fn has_digest(&self, digest: &str) -> bool {
        self.digest == digest || self.id == digest || self.pinned().any(|pinned| pinned == digest)
    }
}

/// All records, immutable once published.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    pub images: Vec<Record>,
}

impl Records {
    /// Finds an image by name, by `name@digest`, by digest or id, or by the beginning of an id.
    pub(super) fn find(&self, text: &str) -> Result<&Record> {
        let not_found = || ImageError::NotFound(text.to_owned());
        if text.starts_with("sha256:") {
            let exact = self.images.iter().find(|image| image.has_digest(text));
            return exact.map_or_else(|| self.find_prefix(text), Ok);
        }
        match Reference::parse(text) {
            Ok(Reference { digest: Some(digest), .. }) => {
                self.images.iter().find(|image| image.has_digest(&digest)).ok_or_else(not_found)
            }
            Ok(reference) => match self.find_tag(&reference.familiar()) {
                Some(image) => Ok(image),
                None => self.find_prefix(text),
            },
            Err(error) => Err(error),
        }
    }

    /// The image that has the familiar `name:tag`.
    pub(super) fn find_tag(&self, familiar: &str) -> Option<&Record> {
        self.images.iter().find(|image| image.tags.contains(familiar))
    }

    fn find_prefix(&self, text: &str) -> Result<&Record> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let begins = |digest: &str| digest::hex_of(digest).is_ok_and(|hex| hex.starts_with(prefix));
        let fits = |image: &&Record| begins(&image.id) || begins(&image.digest);
        let usable = !prefix.is_empty() && digest::is_hex(prefix);
        let mut found = self.images.iter().filter(fits).filter(|_| usable);
        let first = found.next().ok_or_else(|| ImageError::NotFound(text.to_owned()))?;
        // One configuration may have several manifests: compressed and not, say.
        match found.find(|other| other.id != first.id) {
            None => Ok(first),
            Some(second) => Err(ImageError::Ambiguous {
                prefix: text.to_owned(),
                first: first.id.clone(),
                second: second.id.clone(),
            }),
        }
    }

    /// Adds an image or more names for a known one. Takes a name away from its former image.
    /// Gives the image with all its names.
    pub(super) fn add(&mut self, mut new: Record) -> &Record {
        for image in &mut self.images {
            image.tags.retain(|tag| !new.tags.contains(tag));
        }
        let at = self.images.iter().position(|image| image.digest == new.digest);
        let at = at.unwrap_or(self.images.len());
        if let Some(known) = self.images.get_mut(at) {
            new.tags.append(&mut known.tags);
            new.digests.append(&mut known.digests);
            *known = new;
        } else {
            self.images.push(new);
        }
        &self.images[at]
    }
}

/// The records in memory and on disk.
#[derive(Debug)]
pub(super) struct Catalog {
    path: PathBuf,
    current: RwLock<Arc<Records>>,
}

impl Catalog {
    /// Loads what was recorded before.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let path = root.join("images.json");
        let records = match fs::read(&path) {
            Ok(bytes) => json(&bytes, &format!("{}", path.display()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Records::default(),
            Err(e) => return Err(e).doing(|| format!("read {}", path.display())),
        };
        Ok(Self { path, current: RwLock::new(Arc::new(records)) })
    }

    /// The records as they are now.
    pub(super) fn records(&self) -> Arc<Records> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `records` durable, then visible. Callers change them one at a time.
    pub(super) fn publish(&self, records: Records) -> Result<()> {
        let doing = || format!("write {}", self.path.display());
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let bytes = serde_json::to_vec_pretty(&records)
            .map_err(|e| ImageError::Invalid(format!("image records: {e}")))?;
        let mut file = NamedTempFile::new_in(dir).doing(doing)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).doing(doing)?;
        file.persist(&self.path).doing(doing)?;
        sync_dir(dir)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(records);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seed: &str, tags: &[&str]) -> Record {
        Record {
            digest: digest::of_bytes(format!("m{seed}").as_bytes()),
            id: digest::of_bytes(format!("c{seed}").as_bytes()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            digests: BTreeSet::new(),
        }
    }

    #[test]
    fn a_tag_belongs_to_the_image_that_got_it_last() {
        let mut records = Records::default();
        records.add(record("1", &["web:1", "web:latest"]));
        records.add(record("2", &["web:latest"]));
        assert_eq!(records.find("web").unwrap().digest, record("2", &[]).digest);
        assert_eq!(records.find("web:1").unwrap().digest, record("1", &[]).digest);
    }

    #[test]
    fn images_are_found_by_name_digest_id_and_prefix() {
        let mut records = Records::default();
        let one = record("1", &["web:1"]);
        records.add(one.clone());
        let hex = one.id.strip_prefix("sha256:").unwrap();
        for text in [
            "web:1",
            "docker.io/library/web:1",
            &one.id,
            &one.digest,
            hex,
            &hex[..6],
            &format!("web@{}", one.digest),
            &format!("other.example/web:9@{}", one.digest),
        ] {
            assert_eq!(records.find(text).unwrap(), &one, "{text}");
        }
        assert_eq!(records.find("nope").unwrap_err().to_string(), "image not found: nope");
        assert!(matches!(records.find("web@x"), Err(ImageError::InvalidReference { .. })));
        assert!(matches!(records.find("sha256:"), Err(ImageError::NotFound(_))));
    }

    #[test]
    fn an_ambiguous_prefix_names_two_of_the_images() {
        let mut records = Records::default();
        for n in 0..40 {
            records.add(record(&n.to_string(), &[]));
        }
        let shared = (0..16)
            .map(|digit| format!("{digit:x}"))
            .find(|p| matches!(records.find(p), Err(ImageError::Ambiguous { .. })));
        assert!(shared.is_some());
    }
}
