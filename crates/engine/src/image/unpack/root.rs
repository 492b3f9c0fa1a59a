//! The folder a layer is unpacked into, reached only through file descriptors.
//!
//! Parents are opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`: no name can leave the
//! folder, whatever links the archive has made. Leaves are created, never followed. The unpacker
//! decides what to create; this does it.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens,
    makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, syncfs, unlinkat};

use super::at;
use super::path::EntryPath;
use crate::image::error::{Doing, Result};

const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// Bytes copied at a time.
const CHUNK: usize = 128 * 1024;

/// Owner, mode, time and attributes of an entry.
#[derive(Debug)]
pub(super) struct Meta {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: TimeSpec,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is neither a file nor a folder.
pub(super) enum Node {
    Symlink(Vec<u8>),
    Fifo,
    Char((u32, u32)),
    Block((u32, u32)),
}

/// The folder, and the parent that was used last: archives are mostly sorted by folder.
pub(super) struct LayerRoot {
    root: OwnedFd,
    last_parent: Option<(PathBuf, OwnedFd)>,
    chunk: Vec<u8>,
}

impl LayerRoot {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open(dir, flags, Mode::empty())
            .doing(|| format!("open layer folder {}", dir.display()))?;
        Ok(Self { root, last_parent: None, chunk: vec![0; CHUNK] })
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> Result<()> {
        syncfs(&self.root).doing(|| "sync an unpacked layer".to_owned())
    }

    /// A folder; one that is there already only changes its metadata.
    pub(super) fn folder(&mut self, path: &EntryPath, meta: &Meta) -> Result<()> {
        let Some((parent, name)) = self.locate(path, true)? else {
            return apply(&self.root, path, meta);
        };
        let existing = stat(parent, name, path)?;
        match existing.as_ref().map(kind) {
            Some(SFlag::S_IFDIR) => {}
            None => at(path, "create", mkdirat(parent, name, Mode::S_IRWXU))?,
            Some(_) => {
                at(path, "replace", unlinkat(parent, name, UnlinkatFlags::NoRemoveDir))?;
                at(path, "create", mkdirat(parent, name, Mode::S_IRWXU))?;
                // This layer hides the old one and has one of its own: nothing shines through.
                if existing.as_ref().is_some_and(is_whiteout) {
                    set_xattr(
                        &open_folder(parent, name, path)?,
                        OPAQUE_XATTR.as_bytes(),
                        b"y",
                        path,
                    )?;
                }
            }
        }
        apply(&open_folder(parent, name, path)?, path, meta)
    }

    /// A regular file with what `content` holds.
    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        meta: &Meta,
        content: &mut impl Read,
    ) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let (parent, name) = self.make_room(path)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = at(path, "create", openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
        let mut file = File::from(fd);
        loop {
            let n = content.read(&mut chunk).doing(|| format!("read layer entry \"{path}\""))?;
            if n == 0 {
                break;
            }
            file.write_all(&chunk[..n]).doing(|| format!("write layer entry \"{path}\""))?;
        }
        apply(&file, path, meta)?;
        at(path, "set the time of", futimens(&file, &meta.mtime, &meta.mtime))?;
        self.chunk = chunk;
        Ok(())
    }

    /// A second name for what the same layer has already. A link is never followed.
    pub(super) fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<()> {
        let Some(target_name) = target.name() else {
            return Err(path.refuse("it is a hard link to the root"));
        };
        if path == target {
            return Err(path.refuse("it is a hard link to itself"));
        }
        let missing = || path.refuse(&format!("its hard link's target \"{target}\" is not there"));
        let target_parent = match self.open_beneath(target.parent()) {
            Err(Errno::ENOENT) => return Err(missing()),
            other => reached(target, other)?,
        };
        let existing = stat(target_parent.as_fd(), target_name, target)?.ok_or_else(missing)?;
        if kind(&existing) == SFlag::S_IFDIR || is_whiteout(&existing) {
            return Err(missing());
        }
        let (parent, name) = self.make_room(path)?;
        let link = linkat(&target_parent, target_name, parent, name, AtFlags::empty());
        at(path, "link", link)
    }

    /// A symbolic link, a pipe or a device.
    pub(super) fn node(&mut self, path: &EntryPath, meta: &Meta, node: &Node) -> Result<()> {
        let (parent, name) = self.make_room(path)?;
        let mode = Mode::from_bits_truncate(meta.mode);
        let made = match node {
            Node::Symlink(target) => symlinkat(OsStr::from_bytes(target), parent, name),
            Node::Fifo => mknodat(parent, name, SFlag::S_IFIFO, mode, 0),
            Node::Char((major, minor)) => mknodat(
                parent,
                name,
                SFlag::S_IFCHR,
                mode,
                makedev((*major).into(), (*minor).into()),
            ),
            Node::Block((major, minor)) => mknodat(
                parent,
                name,
                SFlag::S_IFBLK,
                mode,
                makedev((*major).into(), (*minor).into()),
            ),
        };
        at(path, "create", made)?;
        let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
        let owned = fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW);
        at(path, "set the owner of", owned)?;
        if !matches!(node, Node::Symlink(_)) {
            // Nobody else writes here, so the name is still the node made above.
            let moded = fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink);
            at(path, "set the mode of", moded)?;
        }
        let nofollow = UtimensatFlags::NoFollowSymlink;
        at(path, "set the time of", utimensat(parent, name, &meta.mtime, &meta.mtime, nofollow))
    }

    /// Hides `path` of the layers below, but not what this layer has put there.
    pub(super) fn whiteout(&mut self, path: &EntryPath) -> Result<()> {
        let Some((parent, name)) = self.locate(path, true)? else {
            return Err(path.refuse("the root cannot be removed"));
        };
        match stat(parent, name, path)? {
            None => {
                let made = mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0));
                at(path, "hide", made)
            }
            Some(existing) if kind(&existing) == SFlag::S_IFDIR => self.mark_opaque(path),
            Some(_) => Ok(()),
        }
    }

    /// Hides all content that the layers below have in this folder.
    pub(super) fn mark_opaque(&mut self, path: &EntryPath) -> Result<()> {
        let folder = reached(path, self.make_beneath(&path.whole()))?;
        let folder = open_folder(folder.as_fd(), OsStr::new("."), path)?;
        set_xattr(&folder, OPAQUE_XATTR.as_bytes(), b"y", path)
    }

    /// Sets a folder's time, unless a later entry has replaced it.
    pub(super) fn set_folder_time(&mut self, path: &EntryPath, mtime: TimeSpec) -> Result<()> {
        let set = match self.locate(path, false) {
            Ok(None) => futimens(&self.root, &mtime, &mtime),
            Ok(Some((parent, name))) => {
                utimensat(parent, name, &mtime, &mtime, UtimensatFlags::NoFollowSymlink)
            }
            Err(_) => return Ok(()),
        };
        match set {
            Err(Errno::ENOENT) => Ok(()),
            other => at(path, "set the time of", other),
        }
    }

    /// The parent of a leaf and its name, with nothing under that name any more.
    fn make_room<'a>(&'a mut self, path: &'a EntryPath) -> Result<(BorrowedFd<'a>, &'a OsStr)> {
        let Some((parent, name)) = self.locate(path, true)? else {
            return Err(path.refuse("the root can only be a folder"));
        };
        let removed = match stat(parent, name, path)?.as_ref().map(kind) {
            None => Ok(()),
            Some(SFlag::S_IFDIR) => unlinkat(parent, name, UnlinkatFlags::RemoveDir),
            Some(_) => unlinkat(parent, name, UnlinkatFlags::NoRemoveDir),
        };
        match removed {
            Err(Errno::ENOTEMPTY) => {
                Err(path.refuse("it would replace a folder that is not empty"))
            }
            other => at(path, "replace", other).map(|()| (parent, name)),
        }
    }

    /// The parent's descriptor and the name; `None` for the root.
    fn locate<'a>(
        &'a mut self,
        path: &'a EntryPath,
        create: bool,
    ) -> Result<Option<(BorrowedFd<'a>, &'a OsStr)>> {
        let Some(name) = path.name() else {
            return Ok(None);
        };
        let known = self.last_parent.take_if(|(parent, _)| parent != path.parent());
        drop(known);
        if self.last_parent.is_none() {
            let opened = match self.open_beneath(path.parent()) {
                Err(Errno::ENOENT) if create => self.make_beneath(path.parent()),
                other => other,
            };
            self.last_parent = Some((path.parent().to_owned(), reached(path, opened)?));
        }
        let parent = self.last_parent.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        Ok(Some((parent, name)))
    }

    /// A folder beneath the root; fails with `ELOOP` where a symbolic link is on the way.
    fn open_beneath(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat2(&self.root, path, OpenHow::new().flags(flags).resolve(resolve))
    }

    /// The same, creating what is missing: archives may leave out folders.
    fn make_beneath(&self, path: &Path) -> nix::Result<OwnedFd> {
        let mut above = self.open_beneath(Path::new(""))?;
        let mut so_far = PathBuf::new();
        for component in path.components() {
            so_far.push(component);
            let name = component.as_os_str();
            match mkdirat(&above, name, Mode::S_IRWXU) {
                // The mode is set apart from creation: the process's umask must not matter.
                Ok(()) => {
                    let mode = Mode::from_bits_truncate(0o755);
                    fchmodat(&above, name, mode, FchmodatFlags::FollowSymlink)?;
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
            above = self.open_beneath(&so_far)?;
        }
        Ok(above)
    }
}

/// Tells a way that leads through something else than folders from other failures.
fn reached(path: &EntryPath, opened: nix::Result<OwnedFd>) -> Result<OwnedFd> {
    match opened {
        Err(Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV) => {
            Err(path.refuse("it is not reached through folders of this layer alone"))
        }
        other => at(path, "reach", other),
    }
}

/// What is under a name, itself and not what it points to.
fn stat(parent: BorrowedFd<'_>, name: &OsStr, path: &EntryPath) -> Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => at(path, "examine", other).map(Some),
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

fn open_folder(parent: BorrowedFd<'_>, name: &OsStr, path: &EntryPath) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    at(path, "open", openat(parent, name, flags, Mode::empty()))
}

/// Owner first: changing it takes away setuid bits and capabilities.
fn apply(fd: &impl AsFd, path: &EntryPath, meta: &Meta) -> Result<()> {
    let fd = fd.as_fd();
    let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    at(path, "set the owner of", fchown(fd, uid, gid))?;
    at(path, "set the mode of", fchmod(fd, Mode::from_bits_truncate(meta.mode)))?;
    meta.xattrs.iter().try_for_each(|(name, value)| set_xattr(&fd, name, value, path))
}

fn set_xattr(fd: &impl AsFd, name: &[u8], value: &[u8], path: &EntryPath) -> Result<()> {
    let name = CString::new(name).map_err(|_| path.refuse("an attribute's name holds a zero"))?;
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed for the call, the name ends in a zero byte, and the value
    // is valid for the length given with it; the kernel only reads both.
    let done =
        unsafe { libc::fsetxattr(raw, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    at(path, "set an attribute of", Errno::result(done).map(drop))
}
