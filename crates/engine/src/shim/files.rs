//! Secrets and configs: read from the shim's standard input, kept on one tmpfs of the shim's own
//! mount namespace, made read-only. They never touch a disk, and are gone with the container.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount as sys_mount};
use zeroize::Zeroizing;

use crate::plan::FileHeader;

/// Largest single file accepted, in bytes; the cluster's own limits are far below.
const MAX_FILE: usize = 16 << 20;

/// Where a file is to appear, and where it is now.
pub type Placed = (PathBuf, PathBuf);

/// Reads files until the input ends. Nothing is mounted when there is none.
pub fn mount(run: &Path, mut input: impl BufRead) -> Result<Vec<Placed>, String> {
    let mut placed = Vec::new();
    let dir = run.join("files");
    loop {
        let mut line = String::new();
        let read = input.read_line(&mut line).map_err(|e| format!("read secrets: {e}"))?;
        if read == 0 {
            break;
        }
        let header: FileHeader =
            serde_json::from_str(&line).map_err(|e| format!("read secrets: {e}"))?;
        if header.len > MAX_FILE {
            return Err(format!("file for {} is larger than 16 MiB", header.target.display()));
        }
        if placed.is_empty() {
            mount_tmpfs(&dir)?;
        }
        let mut data = Zeroizing::new(vec![0; header.len]);
        input.read_exact(&mut data).map_err(|e| format!("read secrets: {e}"))?;
        let path = dir.join(placed.len().to_string());
        write(&path, &header, &data)
            .map_err(|e| format!("place file for {}: {e}", header.target.display()))?;
        placed.push((header.target, path));
    }
    if !placed.is_empty() {
        remount_read_only(&dir)?;
    }
    Ok(placed)
}

fn write(path: &Path, header: &FileHeader, data: &[u8]) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    fchown(&file, Some(header.uid), Some(header.gid))?;
    file.set_permissions(Permissions::from_mode(header.mode & 0o7777))
}

fn flags() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

fn mount_tmpfs(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
    let mount =
        |options: &str| sys_mount(Some("tmpfs"), dir, Some("tmpfs"), flags(), Some(options));
    // Kernels before 6.4 do not know `noswap`.
    mount("mode=0700,noswap")
        .or_else(|_| mount("mode=0700"))
        .map_err(|e| format!("mount tmpfs for secrets: {e}"))
}

fn remount_read_only(dir: &Path) -> Result<(), String> {
    let flags = flags() | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    sys_mount(None::<&str>, dir, None::<&str>, flags, None::<&str>)
        .map_err(|e| format!("make secrets read-only: {e}"))
}
