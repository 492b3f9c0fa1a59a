//! Archives made in memory, and a store in a folder that goes away with it.

use std::path::Path;

use tar::{EntryType, Header};

use crate::image::digest::of_bytes;
use crate::image::{ImageStore, LoadedImage};

/// A tar that may break every rule: names and links are written as they are.
#[derive(Default)]
pub(in crate::image) struct RawTar(Vec<u8>);

impl RawTar {
    pub(in crate::image) fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
    ) -> Self {
        self.push(header(kind, name, link, content.len() as u64), content);
        self
    }

    pub(in crate::image) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    pub(in crate::image) fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    pub(in crate::image) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    pub(in crate::image) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    /// A PAX header for the entry that comes next.
    pub(in crate::image) fn pax(self, pairs: &[(&str, &[u8])]) -> Self {
        let mut records = Vec::new();
        for (key, value) in pairs {
            let rest = 3 + key.len() + value.len();
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            records.extend(format!("{length} {key}=").bytes());
            records.extend(*value);
            records.push(b'\n');
        }
        self.entry(EntryType::XHeader, "PaxHeaders/next", "", &records)
    }

    pub(in crate::image) fn with_header(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.push(header, content);
        self
    }

    pub(in crate::image) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    fn push(&mut self, header: Header, content: &[u8]) {
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }
}

/// A header with the name as it is, owned by root.
pub(in crate::image) fn header(kind: EntryType, name: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A docker archive of one image. `layers` pairs the uncompressed tar with what the archive holds.
pub(in crate::image) fn docker_archive(tag: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|(plain, _)| of_bytes(plain)).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["sh"], "Env": ["A=1"], "Volumes": null },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [tag], "Layers": names },
    ]);
    let mut archive = RawTar::default().file("config.json", config.as_bytes());
    for (name, (_, stored)) in names.iter().zip(layers) {
        archive = archive.file(name, stored);
    }
    archive.file("manifest.json", manifest.to_string().as_bytes()).finish()
}

/// A store that is deleted with the guard.
pub(in crate::image) async fn store() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path().join("images")).await.unwrap();
    (dir, store)
}

/// Loads an archive of one plain layer.
pub(in crate::image) async fn load(store: &ImageStore, tag: &str, layer: &[u8]) -> LoadedImage {
    let archive = docker_archive(tag, &[(layer.to_vec(), layer.to_vec())]);
    store.load(std::io::Cursor::new(archive)).await.unwrap().remove(0)
}

/// How many entries a folder has.
pub(in crate::image) fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}
