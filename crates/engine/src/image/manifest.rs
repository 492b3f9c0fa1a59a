//! The JSON documents of images (OCI and Docker manifests, indexes, configurations), and the
//! [`Image`] made from them.
//!
//! Pure: parses and builds, reads no file. Used by every way an image comes in.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::digest;
use super::error::{ImageError, Result};

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Bytes of the largest manifest, index or configuration that is read into memory.
pub(super) const MAX_JSON: u64 = 8 << 20;
/// The kernel stacks at most 500 lower directories.
const MAX_LAYERS: usize = 500;

/// Points from one document to another blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: String, size: u64) -> Self {
        let media_type = media_type.to_owned();
        Self { media_type, digest, size, platform: None, annotations: BTreeMap::new() }
    }
}

/// An image manifest: its configuration and its layers, bottom first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// Field order is fixed, so the same content always has the same digest.
    pub(super) fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: Some(OCI_MANIFEST.to_owned()), config, layers }
    }

    /// The configuration and the layers.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// A list of images, one per platform, or of other indexes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The entry for `wanted`; entries without a platform fit when there is no other choice.
    pub(super) fn select(&self, name: &str, wanted: &Platform) -> Result<&Descriptor> {
        let fits = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|p| p.fits(wanted));
        let same = |entry: &&Descriptor| entry.platform.as_ref() == Some(wanted);
        let entries = || self.manifests.iter();
        let only =
            || entries().find(|_| self.manifests.len() == 1).filter(|e| e.platform.is_none());
        let entry = entries().find(same).or_else(|| entries().find(fits)).or_else(only);
        let entry = entry.ok_or_else(|| ImageError::WrongPlatform {
            reference: name.to_owned(),
            wanted: wanted.to_string(),
            available: entries()
                .map(|e| e.platform.as_ref().map_or("unknown".into(), Platform::to_string))
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        digest::hex_of(&entry.digest).map(|_| entry)
    }
}

/// A manifest or an index: both may be behind a tag.
pub(super) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Tells by the fields, since the media type is optional.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let value: serde_json::Value = json(bytes, "manifest")?;
        let schema = value.get("schemaVersion").and_then(serde_json::Value::as_u64);
        if schema != Some(2) {
            return Err(ImageError::Unsupported(match schema {
                Some(n) => format!("manifest schema version {n}, expected 2"),
                None => "a manifest without a schema version".to_owned(),
            }));
        }
        if value.get("manifests").is_some() {
            return Ok(Self::Index(json(bytes, "image index")?));
        }
        let manifest: Manifest = json(bytes, "manifest")?;
        for blob in manifest.blobs() {
            digest::hex_of(&blob.digest)?;
        }
        if manifest.layers.len() > MAX_LAYERS {
            let what = "the number of layers".to_owned();
            return Err(ImageError::OverLimit { what, limit: MAX_LAYERS as u64 });
        }
        Ok(Self::Manifest(manifest))
    }
}

/// Operating system and processor an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether an image for `self` runs on `wanted`. A missing variant fits every variant.
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (self.variant == wanted.variant
                || self.variant.is_none()
                || wanted.variant.is_none())
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// What a container of an image runs by default. Absent and empty mean the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user[:group]`, names or numbers.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Keys are `port/protocol`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Absolute paths that want a volume.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that asks for an end.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// The value of a set that JSON spells as a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health check as image configurations write it. Durations are nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

/// The whole configuration document, as far as this engine needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConfigFile {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: ImageConfig,
    pub rootfs: RootFs,
}

/// The digests of the uncompressed layers, bottom first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

impl ConfigFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let config: Self = json(bytes, "image configuration")?;
        for diff_id in &config.rootfs.diff_ids {
            digest::hex_of(diff_id)?;
        }
        Ok(config)
    }
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob, compressed as it came.
    pub digest: String,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar.
    pub diff_id: String,
    /// Digest of this layer and all below it.
    pub chain_id: String,
}

/// An image of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of the manifest: what a service is pinned to.
    pub digest: String,
    /// Digest of the configuration: what users know as the image's id.
    pub id: String,
    /// Familiar `name:tag`s, sorted.
    pub repo_tags: Vec<String>,
    /// Familiar `name@digest`s, sorted.
    pub repo_digests: Vec<String>,
    pub config: ImageConfig,
    pub platform: Platform,
    /// Bytes of all its blobs as they are stored.
    pub size: u64,
    /// RFC 3339; `None` when the configuration does not say.
    pub created: Option<String>,
    /// Bottom first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Joins a manifest with its configuration; their layers must agree in number.
    pub(super) fn build(digest: &str, manifest: &Manifest, config: ConfigFile) -> Result<Self> {
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::Invalid(format!(
                "manifest {digest} has {} layers but its configuration has {}",
                manifest.layers.len(),
                diff_ids.len()
            )));
        }
        let mut chain: Option<String> = None;
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let chain_id = match &chain {
                None => diff_id.clone(),
                Some(below) => digest::of_bytes(format!("{below} {diff_id}").as_bytes()),
            };
            chain = Some(chain_id.clone());
            let (digest, size) = (descriptor.digest.clone(), descriptor.size);
            layers.push(Layer { digest, size, diff_id, chain_id });
        }
        Ok(Self {
            digest: digest.to_owned(),
            id: manifest.config.digest.clone(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            config: config.config,
            platform: Platform {
                os: config.os,
                architecture: config.architecture,
                variant: config.variant,
            },
            size: manifest.blobs().map(|blob| blob.size).sum(),
            created: config.created,
            layers,
        })
    }
}

pub(super) fn json<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::Invalid(format!("{what}: {e}")))
}

/// `null` is as good as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_in_a_configuration_mean_absent() {
        let config: ImageConfig =
            serde_json::from_str(r#"{"Cmd":null,"Env":["A=1"],"Volumes":null,"User":null}"#)
                .unwrap();
        assert_eq!(config.env, ["A=1"]);
        assert!(config.cmd.is_empty() && config.volumes.is_empty() && config.user.is_empty());
    }

    #[test]
    fn a_manifest_of_an_old_schema_is_refused_by_its_number() {
        let error = Document::parse(br#"{"schemaVersion":1}"#).err().unwrap();
        assert_eq!(error.to_string(), "unsupported image: manifest schema version 1, expected 2");
    }

    #[test]
    fn chain_ids_depend_on_everything_below() {
        let (a, b) = (digest::of_bytes(b"a"), digest::of_bytes(b"b"));
        let blob = |d: &str| Descriptor::new(LAYER, d.to_owned(), 1);
        let manifest = Manifest::oci(blob(&a), vec![blob(&a), blob(&b)]);
        let config = ConfigFile {
            architecture: "amd64".into(),
            os: "linux".into(),
            variant: None,
            created: None,
            config: ImageConfig::default(),
            rootfs: RootFs { kind: "layers".into(), diff_ids: vec![a.clone(), b.clone()] },
        };
        let image = Image::build(&a, &manifest, config).unwrap();
        assert_eq!(image.layers[0].chain_id, a);
        assert_eq!(image.layers[1].chain_id, digest::of_bytes(format!("{a} {b}").as_bytes()));
    }
}
