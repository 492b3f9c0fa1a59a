//! Takes away names and images, and the content that nothing uses any more.
//!
//! Content that images share stays as long as one of them does. Does not know containers: the
//! caller says which image ids they use.

use std::collections::{BTreeSet, HashSet};
use std::time::SystemTime;

use super::catalog::{Record, Records};
use super::error::{ImageError, Result};
use super::reference::Reference;
use super::{ImageStore, Inner};

/// What a removal took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A familiar `name:tag` or `name@digest`.
    Untagged(String),
    /// An image's id.
    Deleted(String),
}

impl ImageStore {
    /// Removes a name, and the image with its last name. `in_use` holds the ids of images that
    /// containers use: such an image loses its last name only by `force`, and its content never.
    /// By id or digest, an image with several names goes only by `force`.
    pub async fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: HashSet<String>,
    ) -> Result<Vec<Removed>> {
        let name = name.to_owned();
        self.change(move |inner| inner.remove(&name, force, &in_use)).await
    }
}

impl Inner {
    fn remove(&self, name: &str, force: bool, in_use: &HashSet<String>) -> Result<Vec<Removed>> {
        let mut records = self.catalog.records().as_ref().clone();
        let record = records.find(name)?.clone();
        let conflict = |reason: &str| {
            Err(ImageError::Conflict { image: name.to_owned(), reason: reason.to_owned() })
        };
        let tag = tag_meant(&record, name);
        if tag.is_none() && record.tags.len() > 1 && !force {
            return conflict("it has several names; remove them one by one, or use force");
        }
        let gone: BTreeSet<String> = match tag {
            Some(tag) if record.tags.len() > 1 => [tag].into(),
            _ => record.tags.iter().chain(&record.digests).cloned().collect(),
        };
        let last = record.tags.iter().all(|tag| gone.contains(tag));
        let used = in_use.contains(&record.id);
        if last && used && !force {
            return conflict("a container uses it; remove the container first, or use force");
        }
        let mut removed: Vec<Removed> = gone.iter().cloned().map(Removed::Untagged).collect();
        records.images.retain_mut(|image| {
            if image.digest != record.digest {
                return true;
            }
            image.tags.retain(|tag| !gone.contains(tag));
            image.digests.retain(|digest| used || !gone.contains(digest));
            !last || used
        });
        let others = records.clone();
        self.catalog.publish(records)?;
        if last && !used {
            self.remove_content(&record, &others)?;
            removed.push(Removed::Deleted(record.id));
        }
        Ok(removed)
    }

    /// Removes the blobs and layers of an image that no other image needs.
    pub(super) fn remove_content(&self, record: &Record, others: &Records) -> Result<()> {
        let manifest = self.manifest(&record.digest)?;
        let image = self.image(record)?;
        let (kept_blobs, kept_chains) = self.needed(others);
        for layer in &image.layers {
            if !kept_chains.contains(&layer.chain_id) {
                self.layers.remove(&layer.chain_id)?;
            }
        }
        let own = manifest.blobs().map(|blob| blob.digest.as_str());
        let own = own.chain([record.digest.as_str()]).chain(record.pinned());
        for digest in own.filter(|digest| !kept_blobs.contains(*digest)) {
            self.blobs.remove(digest)?;
        }
        Ok(())
    }

    /// Digests of blobs and chain ids that the recorded images need.
    fn needed(&self, records: &Records) -> (HashSet<String>, HashSet<String>) {
        let (mut blobs, mut chains) = (HashSet::new(), HashSet::new());
        for record in &records.images {
            blobs.extend([record.digest.clone(), record.id.clone()]);
            blobs.extend(record.pinned().map(str::to_owned));
            match (self.manifest(&record.digest), self.image(record)) {
                (Ok(manifest), Ok(image)) => {
                    blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
                    chains.extend(image.layers.into_iter().map(|layer| layer.chain_id));
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(image = record.digest, %error, "an image is damaged");
                }
            }
        }
        (blobs, chains)
    }

    /// Removes what a crash or an abandoned transfer left: unpacked layers of no image, and blobs
    /// of no image written before `deadline`. Only while nothing else uses the store.
    pub(super) fn remove_orphans(&self, deadline: SystemTime) -> Result<()> {
        let (blobs, chains) = self.needed(&self.catalog.records());
        for chain in self.layers.all()?.iter().filter(|chain| !chains.contains(*chain)) {
            self.layers.remove(chain)?;
        }
        for digest in self.blobs.older_than(deadline)?.iter().filter(|d| !blobs.contains(*d)) {
            self.blobs.remove(digest)?;
        }
        Ok(())
    }
}

/// The familiar tag that `name` spells, unless it is an id or a digest.
fn tag_meant(record: &Record, name: &str) -> Option<String> {
    let familiar = Reference::parse(name).ok().filter(|r| r.digest.is_none())?.familiar();
    record.tags.contains(&familiar).then_some(familiar)
}
