//! Taking a lab down, whatever state it is in: finished, half made, all its processes killed, its
//! record damaged, or after a reboot. Driven by names and pins alone. Goes on after every failure
//! and reports all of them; repeating it is safe.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup;
use crate::error::LabError;
use crate::layout::Layout;
use crate::mounts;
use crate::network;
use crate::process::{Marks, kill_marked};
use crate::progress::{Progress, Step};

/// How long killed processes may take to go: a container's memory has to be freed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes every process, mount, link, namespace, cgroup and file of the lab. The caller holds the
/// lab's lock.
pub(crate) fn remove(layout: &Layout, name: &str, progress: Progress<'_>) -> Result<(), LabError> {
    let mut remains = Vec::new();
    let (killed, survivors) = kill_marked(&Marks::new(&layout.cgroup(), &pins(layout)), PATIENCE);
    if killed > 0 {
        progress(Step::Killed { processes: killed });
    }
    remains.extend(survivors.iter().map(|pid| format!("process {pid} does not end")));
    if let Err(error) = network::remove_machine_link(layout) {
        remains.push(error.to_string());
    }
    match mounts::remove_below(&layout.folder) {
        Ok(failures) => remains.extend(failures),
        Err(error) => remains.push(error.to_string()),
    }
    remains.extend(cgroup::remove(&layout.cgroup()));
    // The files stay as long as anything may be mounted among them: removing would reach into it.
    if remains.is_empty()
        && let Err(error) = fs::remove_dir_all(&layout.folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        remains.push(format!("cannot remove {}: {error}", layout.folder.display()));
    }
    if !remains.is_empty() {
        return Err(LabError::Remains { lab: name.to_owned(), remains });
    }
    progress(Step::Removed { lab: name.to_owned() });
    Ok(())
}

/// Every file that may pin a namespace of the lab, without its record.
fn pins(layout: &Layout) -> Vec<PathBuf> {
    let entries = fs::read_dir(layout.pins()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
