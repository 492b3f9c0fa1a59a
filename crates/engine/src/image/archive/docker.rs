//! The `manifest.json` of docker archives.
//!
//! Says which file is which image's configuration or layer. Only called by the archive loader.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Contents, Found, check_layers};
use crate::image::error::{ImageError, Result};
use crate::image::manifest::{ConfigFile, Descriptor, Manifest, OCI_CONFIG};
use crate::image::reference::Reference;
use crate::image::{Inner, Names};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Item {
    /// The item's tags, normalised.
    pub(super) fn tags(&self) -> Result<Names> {
        let mut names = Names::default();
        for tag in self.repo_tags.iter().flatten() {
            names.tags.insert(Reference::parse(tag)?.familiar());
        }
        Ok(names)
    }

    /// The file name of the configuration, which in archives with an OCI layout is its digest.
    pub(super) fn config(&self) -> &str {
        &self.config
    }
}

/// Keeps the content of every image of the archive and makes their manifests.
pub(super) fn images(contents: &mut Contents, inner: &Inner) -> Result<Vec<Found>> {
    let items: Vec<Item> = contents.document("manifest.json")?;
    // Images of one archive share files.
    let mut kept: HashMap<String, (String, u64)> = HashMap::new();
    let mut keep = |name: &str| -> Result<(String, u64)> {
        let name = contents.follow(name)?;
        if let Some(known) = kept.get(&name) {
            return Ok(known.clone());
        }
        let blob = contents.keep(inner, &name)?;
        kept.insert(name, blob.clone());
        Ok(blob)
    };
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        let (config_digest, config_size) = keep(&item.config)?;
        let config = ConfigFile::parse(&inner.blobs.read_json(&config_digest)?)?;
        let layers = item.layers.iter().flatten();
        let layers = layers.map(|name| keep(name)).collect::<Result<Vec<_>>>()?;
        let digests: Vec<String> = layers.iter().map(|(digest, _)| digest.clone()).collect();
        let compressions = check_layers(inner, &config, &digests)?;
        let descriptors = layers
            .into_iter()
            .zip(compressions)
            .map(|((digest, size), how)| Descriptor::new(how.layer_media_type(), digest, size));
        let config = Descriptor::new(OCI_CONFIG, config_digest, config_size);
        let manifest = Manifest::oci(config, descriptors.collect());
        found.push((store_manifest(inner, &manifest)?, item.tags()?));
    }
    Ok(found)
}

/// Stores a manifest and gives its digest.
pub(in crate::image) fn store_manifest(inner: &Inner, manifest: &Manifest) -> Result<String> {
    let bytes = serde_json::to_vec(manifest)
        .map_err(|e| ImageError::Invalid(format!("manifest cannot be written: {e}")))?;
    Ok(inner.blobs.put_bytes(&bytes)?.0)
}
