//! Mounts the container's root file system and prepares the sources of its bind mounts, all in
//! the shim's own mount namespace.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount as sys_mount};

use crate::plan::{Plan, PlanMount};
use crate::spec::Propagation;

/// Longest option string the kernel takes in one page, less a little.
const MAX_OPTIONS: usize = 4000;

/// Mounts layers and the writable directory at `run/rootfs`. The overlay is `volatile`: what a
/// container writes outside of volumes is not made durable, since it never outlives the node.
pub fn mount(plan: &Plan, run: &Path) -> Result<PathBuf, String> {
    let target = run.join("rootfs");
    let (upper, work) = (plan.dir.join("upper"), plan.dir.join("work"));
    for dir in [&target, &upper, &work] {
        fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
    }
    if plan.layers.is_empty() {
        bind(&upper, &target, false)?;
        return Ok(target);
    }
    // Left behind by a volatile overlay; it would refuse to be mounted again.
    let _ = fs::remove_dir_all(work.join("work/incompat"));
    // The upper directory is the container's root directory: it takes over the image's mode.
    adopt_mode(&plan.layers[plan.layers.len() - 1], &upper);
    let (parent, lowers) = lower_dirs(&plan.layers);
    let options = format!(
        "lowerdir={lowers},upperdir={},workdir={},volatile",
        escaped(&upper)?,
        escaped(&work)?
    );
    if options.len() > MAX_OPTIONS {
        return Err(format!("image has too many layers to mount: {}", plan.layers.len()));
    }
    let back = std::env::current_dir().map_err(|e| format!("current directory: {e}"))?;
    if let Some(parent) = parent {
        std::env::set_current_dir(&parent)
            .map_err(|e| format!("enter {}: {e}", parent.display()))?;
    }
    let mounted = sys_mount(
        Some("overlay"),
        &target,
        Some("overlay"),
        // Images may carry device files; those of the container itself are on a tmpfs of their own.
        MsFlags::MS_NODEV,
        Some(options.as_str()),
    );
    std::env::set_current_dir(back).map_err(|e| format!("current directory: {e}"))?;
    mounted.map_err(|e| format!("mount root file system: {e}"))?;
    Ok(target)
}

/// The layers as an option value, topmost first; relative to their common parent when they have
/// one, because one page must hold them all.
fn lower_dirs(layers: &[PathBuf]) -> (Option<PathBuf>, String) {
    let ancestor = layers[0].ancestors().skip(1).find(|dir| {
        !dir.as_os_str().is_empty() && layers.iter().all(|layer| layer.starts_with(dir))
    });
    let parent = ancestor.filter(|dir| *dir != Path::new("/"));
    let names: Vec<String> = layers
        .iter()
        .rev()
        .filter_map(|layer| {
            let short = parent.and_then(|parent| layer.strip_prefix(parent).ok());
            escaped(short.unwrap_or(layer)).ok()
        })
        .collect();
    (parent.map(Path::to_owned), names.join(":"))
}

/// A path within overlay's options, where colon, comma and backslash mean something.
fn escaped(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("path is not UTF-8: {}", path.display()))?;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ':' | ',' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    Ok(out)
}

fn adopt_mode(layer: &Path, upper: &Path) {
    use std::os::unix::fs::MetadataExt;
    if let Ok(meta) = fs::metadata(layer) {
        let _ = fs::set_permissions(upper, meta.permissions());
        let _ = std::os::unix::fs::chown(upper, Some(meta.uid()), Some(meta.gid()));
    }
}

/// Binds every private source into the run directory, cut off from the host's mount events, and
/// returns the source to use for each of the plan's mounts. Slave binds keep the host's path.
pub fn detach_binds(plan: &Plan, run: &Path) -> Result<Vec<PathBuf>, String> {
    let mut sources = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        let PlanMount::Bind { source, propagation, recursive, .. } = mount else {
            sources.push(PathBuf::new());
            continue;
        };
        let private = matches!(propagation, Propagation::Rprivate | Propagation::Private);
        if !private {
            sources.push(source.clone());
            continue;
        }
        let place = run.join(format!("bind{index}"));
        let made = match fs::metadata(source).map(|meta| meta.is_dir()) {
            Ok(true) => fs::create_dir_all(&place),
            Ok(false) => fs::write(&place, b""),
            Err(_) => return Err(format!("bind source path does not exist: {}", source.display())),
        };
        made.map_err(|e| format!("make {}: {e}", place.display()))?;
        bind(source, &place, *recursive)?;
        sys_mount(
            None::<&str>,
            &place,
            None::<&str>,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            None::<&str>,
        )
        .map_err(|e| format!("make {} private: {e}", source.display()))?;
        sources.push(place);
    }
    Ok(sources)
}

fn bind(source: &Path, target: &Path, recursive: bool) -> Result<(), String> {
    let flags = if recursive { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    sys_mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(|e| {
        format!("bind {}: {e}", String::from_utf8_lossy(source.as_os_str().as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_from_their_common_parent_topmost_first() {
        let layers = ["/data/layers/a/fs", "/data/layers/b/fs"].map(PathBuf::from);
        let (parent, names) = lower_dirs(&layers);
        assert_eq!(parent, Some(PathBuf::from("/data/layers")));
        assert_eq!(names, "b/fs:a/fs");
    }

    #[test]
    fn letters_with_a_meaning_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c")).unwrap(), "/a\\:b\\,c");
    }
}
