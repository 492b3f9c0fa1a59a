//! Content by digest: `blobs/sha256/<hex>` under the store's root.
//!
//! A blob appears complete, verified and durable, or not at all. Knows nothing of images.
//! Synchronous: the store calls it off the runtime.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::digest::{self, Hasher};
use super::error::{Doing, ImageError, Result};
use super::manifest::{MAX_JSON, Manifest};

/// Bytes of the largest blob: a guard against endless streams, far above real layers.
pub(super) const MAX_BLOB: u64 = 64 << 30;
/// Bytes copied at a time.
const CHUNK: usize = 256 * 1024;

/// The folder of blobs, and one for what is being written.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    dir: PathBuf,
    tmp: PathBuf,
}

/// Content that is written and hashed but not yet in the store. Dropping it deletes it.
pub(super) struct Staged {
    pub digest: String,
    pub size: u64,
    pub file: NamedTempFile,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let blobs = Self { dir: root.join("blobs/sha256"), tmp: root.join("tmp") };
        for dir in [&blobs.dir, &blobs.tmp] {
            make_dir(dir)?;
        }
        Ok(blobs)
    }

    /// Where a blob lies, whether or not it is there.
    pub(super) fn path(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.dir.join(digest::hex_of(digest)?))
    }

    pub(super) fn has(&self, digest: &str) -> bool {
        self.path(digest).is_ok_and(|path| path.is_file())
    }

    /// The file of a blob and its length in bytes.
    pub(super) fn open_blob(&self, digest: &str) -> Result<(File, u64)> {
        let path = self.path(digest)?;
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(ImageError::NotFound(digest.to_owned()));
            }
            other => other.doing(|| format!("open blob {digest}"))?,
        };
        let size = file.metadata().doing(|| format!("examine blob {digest}"))?.len();
        Ok((file, size))
    }

    /// A small blob, verified again while it is read.
    pub(super) fn read_json(&self, digest: &str) -> Result<Vec<u8>> {
        let (file, size) = self.open_blob(digest)?;
        if size > MAX_JSON {
            return Err(ImageError::OverLimit { what: format!("blob {digest}"), limit: MAX_JSON });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(MAX_JSON).read_to_end(&mut bytes).doing(|| format!("read blob {digest}"))?;
        verify(&format!("blob {digest}"), digest, &digest::of_bytes(&bytes))?;
        Ok(bytes)
    }

    /// The digest of the first blob of `manifest` that is not here.
    pub(super) fn missing<'m>(&self, manifest: &'m Manifest) -> Option<&'m str> {
        manifest.blobs().map(|blob| blob.digest.as_str()).find(|digest| !self.has(digest))
    }

    /// Writes a stream to a temporary file, hashing it on the way.
    pub(super) fn stage(&self, mut reader: impl Read, what: &str) -> Result<Staged> {
        let mut file = self.temp_file()?;
        let mut hasher = Hasher::new();
        let mut size = 0;
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).doing(|| format!("read {what}")),
            };
            size += n as u64;
            if size > MAX_BLOB {
                return Err(ImageError::OverLimit { what: what.to_owned(), limit: MAX_BLOB });
            }
            hasher.update(&chunk[..n]);
            file.write_all(&chunk[..n]).doing(|| format!("store {what}"))?;
        }
        Ok(Staged { digest: hasher.finish(), size, file })
    }

    /// Moves staged content into the store.
    pub(super) fn keep(&self, staged: Staged) -> Result<(String, u64)> {
        let path = self.path(&staged.digest)?;
        if !path.is_file() {
            let doing = || format!("store blob {}", staged.digest);
            let file = staged.file.as_file();
            file.set_permissions(fs::Permissions::from_mode(0o600)).doing(doing)?;
            file.sync_all().doing(doing)?;
            staged.file.persist(&path).doing(doing)?;
            sync_dir(&self.dir)?;
        }
        Ok((staged.digest, staged.size))
    }

    /// Stores a stream that must have the digest `expected`.
    pub(super) fn put(&self, expected: &str, reader: impl Read) -> Result<()> {
        digest::hex_of(expected)?;
        if self.has(expected) {
            return Ok(());
        }
        let staged = self.stage(reader, &format!("blob {expected}"))?;
        verify(&format!("the content received as blob {expected}"), expected, &staged.digest)?;
        self.keep(staged).map(drop)
    }

    /// Stores bytes under their own digest.
    pub(super) fn put_bytes(&self, bytes: &[u8]) -> Result<(String, u64)> {
        let staged = self.stage(bytes, "a document")?;
        self.keep(staged)
    }

    pub(super) fn remove(&self, digest: &str) -> Result<()> {
        match fs::remove_file(self.path(digest)?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).doing(|| format!("remove blob {digest}"))
            }
            _ => Ok(()),
        }
    }

    /// Digests of all blobs that were written before `deadline`.
    pub(super) fn older_than(&self, deadline: std::time::SystemTime) -> Result<Vec<String>> {
        let doing = || "list the image blobs".to_owned();
        let mut old = Vec::new();
        for entry in fs::read_dir(&self.dir).doing(doing)? {
            let entry = entry.doing(doing)?;
            let written = entry.metadata().and_then(|meta| meta.modified()).doing(doing)?;
            if written < deadline
                && let Some(name) = entry.file_name().to_str()
            {
                old.push(format!("sha256:{name}"));
            }
        }
        Ok(old)
    }

    /// An empty file on the store's file system that deletes itself.
    pub(super) fn temp_file(&self) -> Result<NamedTempFile> {
        NamedTempFile::new_in(&self.tmp).doing(|| "create a temporary image file".to_owned())
    }
}

/// An error unless both digests are the same.
pub(super) fn verify(what: &str, expected: &str, actual: &str) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    let (expected, actual) = (expected.to_owned(), actual.to_owned());
    Err(ImageError::DigestMismatch { what: what.to_owned(), expected, actual })
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    let doing = || format!("sync folder {}", dir.display());
    File::open(dir).and_then(|dir| dir.sync_all()).doing(doing)
}

/// A folder that only root may look into: layers hold setuid programs.
pub(super) fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .doing(|| format!("create folder {}", dir.display()))
}
