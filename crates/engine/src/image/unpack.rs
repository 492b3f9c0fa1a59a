//! Unpacks one layer's tar into a folder of its own, ready to be an overlayfs lower directory.
//!
//! Nothing in an archive is trusted: names, links, sizes and extended attributes may all be
//! hostile. Every access goes through [`root::LayerRoot`], which the kernel keeps beneath the
//! folder. Whiteouts become overlayfs's own marks. Does not decompress, hash or rename: the caller
//! ([`super::layers`]) does, and throws the folder away when this fails.

mod path;
mod root;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::time::TimeSpec;
use tar::{Entry, EntryType};

use self::path::EntryPath;
use self::root::{LayerRoot, Meta, Node};
use super::error::{Doing, ImageError, Result};

/// Most entries of one layer. The largest real layers have a few hundred thousand.
pub(super) const MAX_ENTRIES: u64 = 2_000_000;
/// Largest size that a ustar header can state; above it, only the PAX header tells.
const USTAR_MAX_SIZE: u64 = 0o77_777_777_777;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_META: &[u8] = b".wh..wh.";
const XATTR_KEY: &[u8] = b"SCHILY.xattr.";
const SPARSE_KEY: &[u8] = b"GNU.sparse.";

/// Unpacks a plain tar stream into `dest`, an empty folder. Reads up to the end-of-archive mark.
pub(super) fn unpack(reader: impl Read, dest: &Path) -> Result<()> {
    let mut root = LayerRoot::open(dest)?;
    let mut archive = tar::Archive::new(reader);
    let mut late_times = Vec::new();
    let malformed = |e: std::io::Error| ImageError::Invalid(format!("layer archive: {e}"));
    for (count, entry) in archive.entries().map_err(malformed)?.enumerate() {
        if count as u64 >= MAX_ENTRIES {
            let what = "the number of entries of a layer".to_owned();
            return Err(ImageError::OverLimit { what, limit: MAX_ENTRIES });
        }
        let mut entry = entry.map_err(malformed)?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let path = EntryPath::parse(&entry.path_bytes())?;
        let meta = metadata(&mut entry, &path)?;
        if place(&mut root, &mut entry, &path, &meta)? {
            late_times.push((path, meta.mtime));
        }
    }
    // Filling a folder touches it, so its own time comes last.
    for (path, mtime) in late_times.iter().rev() {
        root.set_folder_time(path, *mtime)?;
    }
    root.sync()
}

/// Puts one entry where it belongs; tells whether it is a folder, whose time is set later.
fn place<R: Read>(
    root: &mut LayerRoot,
    entry: &mut Entry<'_, R>,
    path: &EntryPath,
    meta: &Meta,
) -> Result<bool> {
    let name = path.name().map(OsStr::as_bytes).unwrap_or_default();
    if name == OPAQUE {
        root.mark_opaque(&path.parent_path()?)?;
        return Ok(false);
    }
    if name.starts_with(AUFS_META) {
        return Ok(false);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        root.whiteout(&path.sibling(hidden)?)?;
        return Ok(false);
    }
    let node = match entry.header().entry_type() {
        EntryType::Directory => {
            root.folder(path, meta)?;
            return Ok(true);
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            root.file(path, meta, entry)?;
            return Ok(false);
        }
        EntryType::Link => {
            root.hard_link(path, &EntryPath::parse(&link_target(entry, path)?)?)?;
            return Ok(false);
        }
        EntryType::Symlink => Node::Symlink(link_target(entry, path)?),
        EntryType::Fifo => Node::Fifo,
        EntryType::Char => Node::Char(device(entry, path)?),
        EntryType::Block => Node::Block(device(entry, path)?),
        other => {
            return Err(ImageError::Unsupported(format!(
                "layer entry \"{path}\" is of the unknown type {:?}",
                char::from(other.as_byte())
            )));
        }
    };
    root.node(path, meta, &node)?;
    Ok(false)
}

fn link_target<R: Read>(entry: &Entry<'_, R>, path: &EntryPath) -> Result<Vec<u8>> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() && !target.contains(&0) => Ok(target.into_owned()),
        _ => Err(path.refuse("it is a link without a target")),
    }
}

fn device<R: Read>(entry: &Entry<'_, R>, path: &EntryPath) -> Result<(u32, u32)> {
    let header = entry.header();
    let number = |n: std::io::Result<Option<u32>>| n.ok().flatten();
    let numbers = number(header.device_major()).zip(number(header.device_minor()));
    match numbers {
        // Overlayfs would take it for a whiteout.
        Some((0, 0)) => Err(path.refuse("the device 0:0 is reserved for whiteouts")),
        Some(numbers) => Ok(numbers),
        None => Err(path.refuse("its device number is malformed")),
    }
}

/// Owner, mode, time and attributes: the ustar header, overruled by the PAX header.
fn metadata<R: Read>(entry: &mut Entry<'_, R>, path: &EntryPath) -> Result<Meta> {
    let malformed = |e: std::io::Error| ImageError::Invalid(format!("layer entry \"{path}\": {e}"));
    let header = entry.header();
    let id =
        |id: u64| u32::try_from(id).map_err(|_| path.refuse("its owner is not a 32-bit number"));
    let mut meta = Meta {
        mode: header.mode().map_err(malformed)? & 0o7777,
        uid: id(header.uid().map_err(malformed)?)?,
        gid: id(header.gid().map_err(malformed)?)?,
        mtime: TimeSpec::new(header.mtime().map_err(malformed)?.cast_signed(), 0),
        xattrs: Vec::new(),
    };
    let header_size = header.entry_size().map_err(malformed)?;
    let Some(extensions) = entry.pax_extensions().map_err(malformed)? else {
        return Ok(meta);
    };
    for extension in extensions {
        let extension = extension.map_err(malformed)?;
        let (key, value) = (extension.key_bytes(), extension.value_bytes());
        if let Some(name) = key.strip_prefix(XATTR_KEY) {
            if is_kept_xattr(name) {
                meta.xattrs.push((name.to_vec(), value.to_vec()));
            }
        } else if key.starts_with(SPARSE_KEY) {
            return Err(ImageError::Unsupported(format!(
                "layer entry \"{path}\" is a sparse file in PAX format"
            )));
        } else if key == b"mtime" {
            meta.mtime = pax_time(value).ok_or_else(|| path.refuse("its time is malformed"))?;
        } else if key == b"size" {
            check_size(value, header_size, path)?;
        }
    }
    Ok(meta)
}

/// Two readers that believe different sizes see different archives: an old way to smuggle entries.
fn check_size(pax: &[u8], header: u64, path: &EntryPath) -> Result<()> {
    let size = std::str::from_utf8(pax).ok().and_then(|text| text.parse::<u64>().ok());
    match size {
        Some(size) if size == header || size > USTAR_MAX_SIZE => Ok(()),
        Some(size) => {
            Err(path.refuse(&format!("its headers disagree about its size: {size} and {header}")))
        }
        None => Err(path.refuse("its size is malformed")),
    }
}

/// `trusted.*` and `security.*` steer the kernel (overlayfs, labels) and are not a layer's to set;
/// file capabilities are.
fn is_kept_xattr(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    (user || name == b"security.capability") && !name.contains(&0)
}

/// `seconds[.fraction]`, possibly negative.
fn pax_time(value: &[u8]) -> Option<TimeSpec> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i64 = digits.parse().ok().filter(|_| !digits.starts_with(['-', '+']))?;
    match (text.starts_with('-'), nanos) {
        (true, 1..) => Some(TimeSpec::new(seconds - 1, 1_000_000_000 - nanos)),
        _ => Some(TimeSpec::new(seconds, nanos)),
    }
}

/// Adds the entry to a system call's error.
fn at<T>(path: &EntryPath, doing: &str, result: nix::Result<T>) -> Result<T> {
    result.doing(|| format!("{doing} layer entry \"{path}\""))
}
