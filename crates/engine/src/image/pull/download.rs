//! Fetches one blob to a file, going on where an earlier attempt stopped.
//!
//! The file takes its place in the content store only when its digest is right.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::registry::{BlobStream, Registry};
use crate::image::blobs::{MAX_BLOB, sync_dir, verify};
use crate::image::digest::Hasher;
use crate::image::error::{Doing, ImageError, Result};
use crate::image::manifest::Descriptor;

/// Attempts in a row that bring nothing new before a download is given up.
const MAX_FRUITLESS: u32 = 4;
/// The wait after the first of them; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Bytes between two reports of progress.
const REPORT_EVERY: u64 = 256 * 1024;

pub(super) struct Download<'a> {
    pub registry: &'a Registry,
    pub blob: &'a Descriptor,
    /// What there is so far.
    pub part: PathBuf,
    /// Where the whole blob goes.
    pub path: PathBuf,
}

/// What is in the partial file.
struct Progress {
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Download<'_> {
    /// Fetches until the blob is complete. `on_bytes` is given how many bytes are there.
    pub(super) async fn run(&self, on_bytes: &(impl Fn(u64) + Send + Sync)) -> Result<()> {
        if self.blob.size > MAX_BLOB {
            return Err(ImageError::OverLimit { what: self.what(), limit: MAX_BLOB });
        }
        let mut fruitless = 0;
        loop {
            let before = self.length().await;
            match self.attempt(on_bytes).await {
                Ok(()) => return Ok(()),
                // A part of something else: once more, from the start.
                Err(ImageError::DigestMismatch { .. }) if before > 0 => {
                    tracing::debug!(digest = self.blob.digest, "a partial download was spoilt");
                }
                Err(error) if !is_passing(&error) => return Err(error),
                Err(error) => {
                    fruitless = if self.length().await > before { 0 } else { fruitless + 1 };
                    if fruitless == MAX_FRUITLESS {
                        return Err(error);
                    }
                    tracing::debug!(digest = self.blob.digest, %error, "a download goes on");
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(fruitless)).await;
                }
            }
        }
    }

    async fn attempt(&self, on_bytes: &(impl Fn(u64) + Send + Sync)) -> Result<()> {
        let mut progress = self.resume().await?;
        if progress.length < self.blob.size {
            let stream = self.registry.blob(self.blob, progress.length).await?;
            if !stream.resumed && progress.length > 0 {
                drop(progress);
                fs::remove_file(&self.part).await.doing(|| self.doing())?;
                progress = self.resume().await?;
            }
            self.receive(stream, &mut progress, on_bytes).await?;
        }
        let Progress { mut file, hasher, .. } = progress;
        file.flush().await.doing(|| self.doing())?;
        file.sync_all().await.doing(|| self.doing())?;
        if let Err(error) = verify(&self.what(), &self.blob.digest, &hasher.finish()) {
            fs::remove_file(&self.part).await.doing(|| self.doing())?;
            return Err(error);
        }
        fs::rename(&self.part, &self.path).await.doing(|| self.doing())?;
        let dir = self.path.parent().map(PathBuf::from).unwrap_or_default();
        crate::image::blocking(move || sync_dir(&dir)).await
    }

    async fn receive(
        &self,
        mut stream: BlobStream,
        progress: &mut Progress,
        on_bytes: &(impl Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let mut reported = progress.length;
        on_bytes(reported);
        let outcome = loop {
            let bytes = match stream.bytes.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(self.broken(error.to_string())),
                Some(Ok(bytes)) => bytes,
            };
            progress.length += bytes.len() as u64;
            if progress.length > self.blob.size {
                let (what, limit) = (self.what(), self.blob.size);
                fs::remove_file(&self.part).await.doing(|| self.doing())?;
                return Err(ImageError::OverLimit { what, limit });
            }
            progress.hasher.update(&bytes);
            progress.file.write_all(&bytes).await.doing(|| self.doing())?;
            if progress.length - reported >= REPORT_EVERY || progress.length == self.blob.size {
                reported = progress.length;
                on_bytes(reported);
            }
        };
        progress.file.flush().await.doing(|| self.doing())?;
        if progress.length < self.blob.size {
            let ended = || self.broken("the connection ended early".to_owned());
            return outcome.and_then(|()| Err(ended()));
        }
        // All bytes are there: whether they are the right ones, the digest tells.
        Ok(())
    }

    /// Opens the partial file at its end, with the hash of what it holds.
    async fn resume(&self) -> Result<Progress> {
        let (part, blob_size) = (self.part.clone(), self.blob.size);
        let doing = self.doing();
        let (hasher, length) = crate::image::blocking(move || {
            let mut hasher = Hasher::new();
            let mut file = match std::fs::File::open(&part) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok((hasher, 0)),
                other => other.doing(|| doing.clone())?,
            };
            let mut chunk = vec![0; REPORT_EVERY as usize];
            let mut length = 0;
            loop {
                let n = file.read(&mut chunk).doing(|| doing.clone())?;
                if n == 0 || length > blob_size {
                    break;
                }
                hasher.update(&chunk[..n]);
                length += n as u64;
            }
            if length > blob_size {
                std::fs::remove_file(&part).doing(|| doing.clone())?;
                return Ok((Hasher::new(), 0));
            }
            Ok((hasher, length))
        })
        .await?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.part).await;
        Ok(Progress { file: file.doing(|| self.doing())?, hasher, length })
    }

    async fn length(&self) -> u64 {
        fs::metadata(&self.part).await.map_or(0, |meta| meta.len())
    }

    fn what(&self) -> String {
        format!("blob {} of {}", self.blob.digest, self.registry.reference())
    }

    fn doing(&self) -> String {
        format!("store {}", self.what())
    }

    fn broken(&self, reason: String) -> ImageError {
        let reference = self.registry.reference();
        let (registry, reference) = (reference.registry.clone(), reference.to_string());
        ImageError::Registry { registry, reference, reason }
    }
}

/// Whether trying again may help.
fn is_passing(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::Registry { .. } | ImageError::Timeout { .. } | ImageError::Unreachable { .. }
    )
}
