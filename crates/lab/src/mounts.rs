//! The machine's mount table: what is mounted under a folder, and taking it away.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::error::LabError;

/// Mount points at or below `folder` (a canonical path) as this process sees them, in the order
/// they were mounted.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(LabError::system("read the mount table"))?;
    Ok(points(&table).filter(|point| point.starts_with(folder)).collect())
}

/// Unmounts everything at or below `folder`, the latest first. Collects what fails.
pub(crate) fn remove_below(folder: &Path) -> Result<Vec<String>, LabError> {
    let mut failures = Vec::new();
    for point in below(folder)?.iter().rev() {
        if let Err(errno) = umount2(point, MntFlags::MNT_DETACH) {
            failures.push(format!("cannot unmount {}: {errno}", point.display()));
        }
    }
    Ok(failures)
}

/// Makes a folder a mount of its own that shares nothing with other mount namespaces: the kernel
/// pins mount namespaces only in such a place.
pub(crate) fn make_private(folder: &Path) -> Result<(), LabError> {
    if below(folder)?.iter().any(|point| point == folder) {
        return Ok(());
    }
    let none: Option<&str> = None;
    mount(Some(folder), folder, none, MsFlags::MS_BIND, none)
        .and_then(|()| mount(none, folder, none, MsFlags::MS_PRIVATE, none))
        .map_err(LabError::on_path("mount", folder))
}

/// Whether the file pins a namespace (and is not the empty file a pin is mounted on).
pub(crate) fn is_pin(file: &Path) -> bool {
    statfs(file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

fn points(table: &str) -> impl Iterator<Item = PathBuf> {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped)
}

/// Blanks and backslashes are written as three octal digits after a backslash.
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let table = "36 25 0:4 net:[1] /var/x/a\\040b/ns rw - nsfs nsfs rw\n\
                     37 25 0:5 / /run rw shared:1 - tmpfs tmpfs rw\n";
        let points: Vec<_> = points(table).collect();
        assert_eq!(points, [PathBuf::from("/var/x/a b/ns"), PathBuf::from("/run")]);
    }
}
