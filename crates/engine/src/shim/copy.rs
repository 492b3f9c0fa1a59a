//! Fills an empty volume with what the image has at the mount's target: files, directories,
//! links, pipes and devices with their owners, modes and times. Extended attributes are not
//! copied. Runs before any process of the container exists.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, mknod};
use pathrs::Root;

/// Copies `target` within `root` into `volume` when that is empty. Does nothing when the image
/// has no directory there.
pub fn fill(root: &Root, target: &Path, volume: &Path) -> io::Result<()> {
    if fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    let Ok(source) = root.resolve(target) else { return Ok(()) };
    let path = format!("/proc/self/fd/{}/", source.as_fd().as_raw_fd());
    let source = Path::new(&path);
    if !fs::metadata(source).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    copy_entries(source, volume)?;
    set_owner(volume, &fs::metadata(source)?)
}

fn copy_entries(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(meta.uid()), Some(meta.gid()));
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        copy_entries(from, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else if let Some(flag) = special(&meta) {
        mknod(to, flag, Mode::empty(), meta.rdev())?;
    } else {
        // A socket is nothing without its listener.
        return Ok(());
    }
    set_owner(to, &meta)
}

fn special(meta: &Metadata) -> Option<SFlag> {
    let kind = meta.file_type();
    if kind.is_fifo() {
        Some(SFlag::S_IFIFO)
    } else if kind.is_char_device() {
        Some(SFlag::S_IFCHR)
    } else if kind.is_block_device() {
        Some(SFlag::S_IFBLK)
    } else {
        None
    }
}

/// Owner first: changing it clears set-user-id bits.
fn set_owner(path: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(path, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    let times = fs::FileTimes::new().set_modified(meta.modified()?).set_accessed(meta.accessed()?);
    // Devices and pipes must not be opened for their times.
    if meta.is_dir() || meta.is_file() { fs::File::open(path)?.set_times(times) } else { Ok(()) }
}
