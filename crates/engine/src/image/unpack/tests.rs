//! Hostile and ordinary layers. Needs root, as unpacking does: owners and devices are real.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tar::EntryType;

use super::unpack;
use crate::image::error::{ImageError, Result};
use crate::image::tests::fixture::{RawTar, header};

/// A layer's folder with a bystander beside it that no layer may touch.
struct Ground {
    dir: tempfile::TempDir,
    layer: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer");
        fs::create_dir(&layer).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        Self { dir, layer }
    }

    fn unpack(&self, tar: RawTar) -> Result<()> {
        unpack(&tar.finish()[..], &self.layer)
    }

    fn outside_is_untouched(&self) -> bool {
        let outside = self.dir.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap()).collect();
        let metadata = outside.join("secret").metadata().unwrap();
        names.len() == 1
            && metadata.nlink() == 1
            && metadata.mode() & 0o7777 == 0o644
            && fs::read(outside.join("secret")).unwrap() == b"secret"
            && fs::read_dir(self.dir.path()).unwrap().count() == 2
    }
}

#[test]
fn hostile_entries_are_refused_and_touch_nothing_outside() {
    let tar = RawTar::default;
    let outside = "../outside";
    for (what, hostile) in [
        ("dot dot", tar().file("../outside/new", b"x")),
        ("dot dot inside", tar().file("a/../../outside/new", b"x")),
        ("dot dot folder", tar().dir("../outside")),
        ("symlinked parent", tar().symlink("link", outside).file("link/new", b"x")),
        ("symlinked parent of a folder", tar().symlink("link", outside).dir("link/new")),
        ("symlinked parent, absolute", tar().symlink("link", "/tmp").file("link/new", b"x")),
        (
            "chain of symlinks",
            tar().symlink("a", ".").symlink("b", "a/..").file("b/outside/x", b""),
        ),
        ("link through a parent", tar().symlink("l", outside).hard_link("x", "l/secret")),
        ("hard link outside", tar().hard_link("x", "../outside/secret")),
        ("absolute hard link", tar().hard_link("x", "/etc/passwd")),
        ("whiteout outside", tar().symlink("l", outside).file("l/.wh.secret", b"")),
        ("opaque outside", tar().symlink("l", outside).file("l/.wh..wh..opq", b"")),
        ("whiteout of dot dot", tar().file("a/.wh...", b"")),
        ("whiteout of nothing", tar().file("a/.wh.", b"")),
        ("link in a symlink", tar().symlink("l", outside).file("f", b"").hard_link("l/f", "f")),
        ("file as a parent", tar().file("f", b"").file("f/x", b"")),
        ("a whiteout device", tar().entry(EntryType::Char, "dev", "", b"")),
        ("a root that is a file", tar().file("/", b"")),
        ("a full folder replaced", tar().file("d/f", b"").symlink("d", outside)),
    ] {
        let ground = Ground::new();
        let error = ground.unpack(hostile).expect_err(what);
        assert!(matches!(error, ImageError::UnsafeEntry { .. }), "{what}: {error}");
        assert!(ground.outside_is_untouched(), "{what}");
    }
}

#[test]
fn a_symlink_that_is_a_leaf_is_replaced_and_not_followed() {
    let ground = Ground::new();
    let tar = RawTar::default()
        .symlink("a", "../outside/secret")
        .file("a", b"mine")
        .symlink("d", "../outside")
        .dir("d")
        .file("d/f", b"mine");
    ground.unpack(tar).unwrap();
    assert_eq!(fs::read(ground.layer.join("a")).unwrap(), b"mine");
    assert!(ground.layer.join("d").symlink_metadata().unwrap().is_dir());
    assert!(ground.outside_is_untouched());
}

#[test]
fn absolute_names_and_links_stay_within_the_layer() {
    let ground = Ground::new();
    let tar = RawTar::default().file("/etc/x", b"1").hard_link("/y", "/etc/x");
    ground.unpack(tar).unwrap();
    assert_eq!(fs::read(ground.layer.join("y")).unwrap(), b"1");
    assert_eq!(fs::metadata(ground.layer.join("etc/x")).unwrap().nlink(), 2);
}

#[test]
fn headers_that_disagree_about_a_size_are_refused() {
    let ground = Ground::new();
    let smuggle = RawTar::default().pax(&[("size", b"0")]).file("a", &[b'x'; 512]);
    let error = ground.unpack(smuggle).unwrap_err();
    assert!(error.to_string().contains("disagree"), "{error}");
    assert!(matches!(error, ImageError::UnsafeEntry { .. }));
}

#[test]
fn broken_archives_are_refused() {
    let cut = RawTar::default().file("a", &[0; 2048]).finish();
    let ground = Ground::new();
    assert!(unpack(&cut[..1024], &ground.layer).is_err());
    let mut checksum = RawTar::default().file("a", b"x").finish();
    checksum[0] = b'b';
    assert!(unpack(&checksum[..], &ground.layer).is_err());
    let sparse = RawTar::default().pax(&[("GNU.sparse.major", b"1")]).file("s", b"x");
    assert!(matches!(ground.unpack(sparse), Err(ImageError::Unsupported(_))));
    let unknown = RawTar::default().entry(EntryType::new(b'Q'), "q", "", b"");
    assert!(matches!(ground.unpack(unknown), Err(ImageError::Unsupported(_))));
}

#[test]
fn owners_modes_times_and_attributes_are_kept() {
    let ground = Ground::new();
    let mut setuid = header(EntryType::Regular, "bin/su", "", 2);
    setuid.set_mode(0o4755);
    setuid.set_uid(7);
    setuid.set_gid(8);
    // cap_net_raw=ep, in the kernel's own format.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = RawTar::default()
        .dir("bin/")
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("mtime", b"1000000000.25"),
        ])
        .with_header(setuid, b"su")
        .entry(EntryType::Fifo, "pipe", "", b"");
    ground.unpack(tar).unwrap();
    let path = ground.layer.join("bin/su");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (7, 8, 0o4755));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 250_000_000));
    assert_eq!(fs::metadata(ground.layer.join("bin")).unwrap().mtime(), 1_000_000_000);
    assert!(fs::metadata(ground.layer.join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(xattr(&path, "user.note").as_deref(), Some(&b"kept"[..]));
    assert_eq!(xattr(&path, "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(xattr(&path, "trusted.overlay.redirect"), None);
}

#[test]
fn devices_are_made_with_their_numbers() {
    let ground = Ground::new();
    let mut null = header(EntryType::Char, "null", "", 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_mode(0o666);
    ground.unpack(RawTar::default().with_header(null, b"")).unwrap();
    let meta = fs::metadata(ground.layer.join("null")).unwrap();
    assert_eq!((meta.rdev(), meta.permissions().mode() & 0o777), (0x103, 0o666));
}

#[test]
fn whiteouts_become_overlayfs_marks_and_spare_what_the_layer_brings() {
    let ground = Ground::new();
    let tar = RawTar::default()
        .file("etc/.wh.gone", b"")
        .file("kept", b"new")
        .file(".wh.kept", b"")
        .file(".wh.again", b"")
        .dir("again")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/.wh..wh.plnk", b"")
        .file("opaque/f", b"1");
    ground.unpack(tar).unwrap();
    let gone = fs::symlink_metadata(ground.layer.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::read(ground.layer.join("kept")).unwrap(), b"new");
    for folder in ["again", "opaque"] {
        let mark = xattr(&ground.layer.join(folder), "trusted.overlay.opaque");
        assert_eq!(mark.as_deref(), Some(&b"y"[..]), "{folder}");
    }
    assert_eq!(fs::read_dir(ground.layer.join("opaque")).unwrap().count(), 1);
}

fn xattr(path: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    let mut value = vec![0; 256];
    // SAFETY: both names end in a zero byte and the buffer is as long as stated.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}
