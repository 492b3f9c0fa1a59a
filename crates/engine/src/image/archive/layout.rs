//! The `index.json` of OCI layouts, which newer docker archives have as well.
//!
//! Manifests are kept as they are, so an image keeps the digest it has in its registry. Only called
//! by the archive loader.

use std::collections::HashSet;

use super::docker::Item;
use super::{Contents, Found, blob_name, check_layers};
use crate::image::error::{ImageError, Result};
use crate::image::manifest::{ConfigFile, Descriptor, Document, Index, Manifest, Platform};
use crate::image::reference::Reference;
use crate::image::{Inner, Names};

/// An index may point to indexes that point to manifests, and no deeper.
const MAX_DEPTH: usize = 3;
/// A whole image name, as BuildKit and containerd write it.
const NAME: &str = "io.containerd.image.name";
/// A tag or a whole name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Keeps the content of every image of the layout that fits this machine.
pub(super) fn images(contents: &mut Contents, inner: &Inner) -> Result<Vec<Found>> {
    let index: Index = contents.document("index.json")?;
    let items: Vec<Item> = match contents.documents.contains_key("manifest.json") {
        true => contents.document("manifest.json")?,
        false => Vec::new(),
    };
    let mut layout = Layout { contents, inner, kept: HashSet::new() };
    let mut found: Vec<Found> = Vec::new();
    for entry in &index.manifests {
        let (digest, manifest) = layout.resolve(entry, 1)?;
        layout.keep_image(&digest, &manifest)?;
        let mut names = names(entry)?;
        let config = blob_name(&manifest.config.digest)?;
        for item in items.iter().filter(|item| item.config() == config) {
            names.tags.extend(item.tags()?.tags);
        }
        match found.iter_mut().find(|(known, _)| *known == digest) {
            Some((_, known)) => known.tags.extend(names.tags),
            None => found.push((digest, names)),
        }
    }
    Ok(found)
}

struct Layout<'a> {
    contents: &'a mut Contents,
    inner: &'a Inner,
    kept: HashSet<String>,
}

impl Layout<'_> {
    /// Follows indexes to the manifest for this machine.
    fn resolve(&mut self, entry: &Descriptor, depth: usize) -> Result<(String, Manifest)> {
        if depth > MAX_DEPTH {
            return Err(ImageError::Invalid("its indexes are nested too deeply".to_owned()));
        }
        self.keep(&entry.digest)?;
        match Document::parse(&self.inner.blobs.read_json(&entry.digest)?)? {
            Document::Manifest(manifest) => Ok((entry.digest.clone(), manifest)),
            Document::Index(index) => {
                let chosen = index.select(&entry.digest, &Platform::host())?;
                self.resolve(chosen, depth + 1)
            }
        }
    }

    fn keep_image(&mut self, digest: &str, manifest: &Manifest) -> Result<()> {
        for blob in manifest.blobs() {
            self.keep(&blob.digest)?;
        }
        let config = ConfigFile::parse(&self.inner.blobs.read_json(&manifest.config.digest)?)
            .map_err(|e| ImageError::Invalid(format!("{digest}: {e}")))?;
        let layers: Vec<String> = manifest.layers.iter().map(|l| l.digest.clone()).collect();
        check_layers(self.inner, &config, &layers).map(drop)
    }

    /// Takes a blob out of the archive; its name there must be its digest.
    fn keep(&mut self, digest: &str) -> Result<()> {
        if self.kept.contains(digest) || self.inner.blobs.has(digest) {
            return Ok(());
        }
        let name = blob_name(digest)?;
        if let Some(staged) = self.contents.files.get(&name) {
            let what = format!("\"{name}\" of the image archive");
            crate::image::blobs::verify(&what, digest, &staged.digest)?;
        }
        self.contents.keep(self.inner, &name)?;
        self.kept.insert(digest.to_owned());
        Ok(())
    }
}

/// What the annotations call the image. A bare tag names nothing by itself.
fn names(entry: &Descriptor) -> Result<Names> {
    let mut names = Names::default();
    let annotation = |key: &str| entry.annotations.get(key);
    let whole =
        annotation(NAME).or_else(|| annotation(REF_NAME).filter(|name| name.contains(['/', ':'])));
    if let Some(name) = whole {
        names.tags.insert(Reference::parse(name)?.familiar());
    }
    Ok(names)
}
