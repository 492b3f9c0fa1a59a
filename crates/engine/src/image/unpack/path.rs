//! Names of a layer's entries, split and checked before any of them reaches the kernel.
//!
//! Pure text. Used by the unpacker only.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::image::error::{ImageError, Result};

/// The kernel's own limits on a path and on one name in it.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;

/// A name relative to the layer's root, of plain components only: neither `.` nor `..` nor `/` in
/// front. Without a name it is the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    parent: PathBuf,
    name: Option<OsString>,
}

impl EntryPath {
    /// A leading `/` means the layer's root, as in every container engine; `..` is refused.
    pub(super) fn parse(raw: &[u8]) -> Result<Self> {
        let refuse = |reason: &str| ImageError::UnsafeEntry {
            path: String::from_utf8_lossy(raw).into_owned(),
            reason: reason.to_owned(),
        };
        if raw.len() > MAX_PATH {
            return Err(refuse("the path is longer than 4095 bytes"));
        }
        if raw.contains(&0) {
            return Err(refuse("the path holds a zero byte"));
        }
        let mut parent = PathBuf::new();
        let mut name: Option<OsString> = None;
        for component in raw.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".") {
            if component == b".." {
                return Err(refuse("\"..\" could leave the layer"));
            }
            if component.len() > MAX_NAME {
                return Err(refuse("a name in it is longer than 255 bytes"));
            }
            if let Some(above) = name.replace(OsString::from_vec(component.to_vec())) {
                parent.push(above);
            }
        }
        Ok(Self { parent, name })
    }

    /// Empty for what lies at the root.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    pub(super) fn name(&self) -> Option<&OsStr> {
        self.name.as_deref()
    }

    /// The whole path, empty for the root.
    pub(super) fn whole(&self) -> PathBuf {
        match &self.name {
            Some(name) => self.parent.join(name),
            None => PathBuf::new(),
        }
    }

    /// The folder it lies in.
    pub(super) fn parent_path(&self) -> Result<Self> {
        Self::parse(self.parent.as_os_str().as_bytes())
    }

    /// Another name in the same folder; it must be a single, ordinary name.
    pub(super) fn sibling(&self, name: &[u8]) -> Result<Self> {
        let mut sibling = Self::parse(name)?;
        if sibling.name.is_none() || !sibling.parent.as_os_str().is_empty() {
            return Err(self.refuse("the whiteout names nothing"));
        }
        sibling.parent.clone_from(&self.parent);
        Ok(sibling)
    }

    /// The error that refuses this entry.
    pub(super) fn refuse(&self, reason: &str) -> ImageError {
        ImageError::UnsafeEntry { path: self.to_string(), reason: reason.to_owned() }
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole().display())
    }
}
