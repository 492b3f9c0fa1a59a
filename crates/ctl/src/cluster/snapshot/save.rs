//! `swarmctl cluster snapshot save`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use swarm_api::{SaveSnapshotRequest, SavedSnapshot};

use super::key;
use crate::client::Client;
use crate::output;

/// Flags of `cluster snapshot save`.
#[derive(Args, Debug)]
pub struct SaveFlags {
    /// Replace the file if it exists
    #[arg(short, long)]
    force: bool,
    /// Do not show the recovery key
    #[arg(short, long)]
    quiet: bool,
    /// Where to save it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl SaveFlags {
    /// Saves all that was acknowledged before, sealed under the cluster's recovery key.
    pub async fn run(self, client: &Client) -> Result<()> {
        let name = self.file.display().to_string();
        if self.file.exists() && !self.force {
            bail!("{name} exists: choose another name, or replace it with --force");
        }
        let mut part = Part::create(&self.file)?;
        let saved = receive(client, &mut part).await?;
        part.finish(self.force).with_context(|| format!("cannot write {name}"))?;
        let at = format!("index {}, term {}", saved.index, saved.term);
        let size = swarm_api::size::format_decimal(saved.bytes);
        output::line(format_args!("Saved the cluster's state ({at}, {size}) to {name}."))?;
        if self.quiet {
            return Ok(());
        }
        output::line("")?;
        key::show(client).await
    }
}

async fn receive(client: &Client, part: &mut Part) -> Result<SavedSnapshot> {
    let mut pieces = match client.snapshots().save_snapshot(SaveSnapshotRequest {}).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(client.explain(status).await),
    };
    let mut bytes = 0;
    loop {
        let piece = match pieces.message().await {
            Ok(piece) => piece.context("the snapshot was cut off on its way: try again")?,
            Err(status) => return Err(client.explain(status).await),
        };
        part.write(&piece.data)?;
        bytes += piece.data.len() as u64;
        if let Some(saved) = piece.saved {
            if saved.bytes != bytes {
                bail!("{bytes} of {} bytes of the snapshot arrived: try again", saved.bytes);
            }
            return Ok(saved);
        }
    }
}

/// A file that gets its name when it is whole; until then, or else, it goes.
struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Part {
    fn create(target: &Path) -> Result<Self> {
        let mut name = target.file_name().context("name a file to save to")?.to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path, target: target.to_owned() })
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        let written = self.file.write_all(data);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn finish(self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        match replace {
            true => fs::rename(&self.path, &self.target)?,
            // Fails where another has taken the name meanwhile.
            false => fs::hard_link(&self.path, &self.target)?,
        }
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_replaces_none_unasked() {
        let dir = std::env::temp_dir().join(format!("swarmctl-save-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let target = dir.join("x");
        let mut part = Part::create(&target).unwrap();
        part.write(b"one").unwrap();
        assert!(!target.exists());
        drop(part);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is left of a half one");
        for (replace, works) in [(false, true), (false, false), (true, true)] {
            let mut part = Part::create(&target).unwrap();
            part.write(b"two").unwrap();
            assert_eq!(part.finish(replace).is_ok(), works);
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
