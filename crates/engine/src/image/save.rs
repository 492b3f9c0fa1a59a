//! Writes images into an archive that this store, Docker and OCI tools can load.
//!
//! The archive is an OCI layout with docker's `manifest.json` beside it. The same images always
//! give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::json;

use super::catalog::Record;
use super::error::{Doing, ImageError, Result};
use super::manifest::{Descriptor, Index, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;
use super::{ImageStore, Inner, digest};

impl ImageStore {
    /// Writes the images with these names into one archive; gives the writer back.
    pub async fn save<W: Write + Send + 'static>(&self, names: &[String], writer: W) -> Result<W> {
        let names = names.to_owned();
        self.with_inner(move |inner| inner.save(&names, writer)).await
    }
}

impl Inner {
    fn save<W: Write>(&self, names: &[String], writer: W) -> Result<W> {
        let records = self.catalog.records();
        let mut wanted: BTreeMap<String, (&Record, BTreeSet<String>)> = BTreeMap::new();
        for name in names {
            let record = records.find(name)?;
            let (_, tags) = wanted.entry(record.digest.clone()).or_insert((record, [].into()));
            match Reference::parse(name).map(|r| r.familiar()) {
                Ok(familiar) if record.tags.contains(&familiar) => drop(tags.insert(familiar)),
                _ => tags.extend(record.tags.iter().cloned()),
            }
        }
        let mut archive = Archive { builder: tar::Builder::new(writer), written: BTreeSet::new() };
        let (mut index, mut items) = (Vec::new(), Vec::new());
        for (record, tags) in wanted.into_values() {
            let manifest = self.manifest(&record.digest)?;
            for digest in manifest.blobs().map(|b| b.digest.as_str()).chain([&*record.digest]) {
                archive.blob(self, digest)?;
            }
            let size = self.blobs.open_blob(&record.digest)?.1;
            let media_type = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
            let entry = Descriptor::new(media_type, record.digest.clone(), size);
            index.extend(named_entries(&entry, &tags)?);
            let path = |digest: &str| Ok(format!("blobs/sha256/{}", digest::hex_of(digest)?));
            let layers = manifest.layers.iter().map(|layer| path(&layer.digest));
            items.push(json!({
                "Config": path(&record.id)?,
                "RepoTags": tags,
                "Layers": layers.collect::<Result<Vec<_>>>()?,
            }));
        }
        let media_type = Some(OCI_INDEX.to_owned());
        let index = Index { schema_version: 2, media_type, manifests: index };
        archive.document("index.json", &index)?;
        archive.document("manifest.json", &items)?;
        archive.document("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        archive.builder.into_inner().doing(|| "write the image archive".to_owned())
    }
}

/// One entry per name, or one without a name.
fn named_entries(entry: &Descriptor, tags: &BTreeSet<String>) -> Result<Vec<Descriptor>> {
    if tags.is_empty() {
        return Ok(vec![entry.clone()]);
    }
    let named = |tag: &String| {
        let reference = Reference::parse(tag)?;
        let tag = reference.tag.unwrap_or_default();
        let whole = format!("{}/{}:{tag}", reference.registry, reference.repository);
        let mut entry = entry.clone();
        entry.annotations.insert("io.containerd.image.name".to_owned(), whole);
        entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag);
        Ok(entry)
    };
    tags.iter().map(named).collect()
}

struct Archive<W: Write> {
    builder: tar::Builder<W>,
    written: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    fn blob(&mut self, inner: &Inner, digest: &str) -> Result<()> {
        if self.written.insert(digest.to_owned()) {
            let (file, size) = inner.blobs.open_blob(digest)?;
            let name = format!("blobs/sha256/{}", digest::hex_of(digest)?);
            self.file(&name, size, file)?;
        }
        Ok(())
    }

    fn document(&mut self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| ImageError::Invalid(format!("{name} cannot be written: {e}")))?;
        self.file(name, bytes.len() as u64, bytes.as_slice())
    }

    fn file(&mut self, name: &str, size: u64, content: impl std::io::Read) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        self.builder
            .append_data(&mut header, name, content)
            .doing(|| "write the image archive".to_owned())
    }
}
