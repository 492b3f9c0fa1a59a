//! Commands on the images of the connected node.

mod import;
mod load;
mod ls;
mod pull;
mod rm;
mod tag;

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Client;

/// Bytes of an archive per message: far above what a message costs, far below what a peer accepts.
const CHUNK: usize = 512 << 10;
/// Pieces read ahead of the daemon.
const AHEAD: usize = 4;

/// What can be done with images.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// List images
    #[command(alias = "list")]
    Ls(ls::LsFlags),
    /// Load images from an archive (docker save, OCI layout)
    Load(load::LoadFlags),
    /// Make an image from the archive of a root file system
    Import(import::ImportFlags),
    /// Pull an image from its registry
    Pull(pull::PullFlags),
    /// Remove images
    #[command(alias = "remove")]
    Rm(rm::RmFlags),
    /// Give an image another name
    Tag(tag::TagFlags),
}

impl ImageCommand {
    /// Runs it.
    pub async fn run(self, client: &Client) -> Result<()> {
        match self {
            Self::Ls(flags) => flags.run(client).await,
            Self::Load(flags) => flags.run(client).await,
            Self::Import(flags) => flags.run(client).await,
            Self::Pull(flags) => flags.run(client).await,
            Self::Rm(flags) => flags.run(client).await,
            Self::Tag(flags) => flags.run(client).await,
        }
    }
}

/// The bytes of a file (none: stdin) in pieces, each wrapped by `wrap`. The receiver tells
/// afterwards how reading went, so that a file cut short is never taken for a whole one.
fn upload<T: Send + 'static>(
    file: Option<PathBuf>,
    wrap: impl Fn(bool, Vec<u8>) -> T + Send + 'static,
) -> (ReceiverStream<T>, oneshot::Receiver<Result<()>>) {
    let (pieces, stream) = mpsc::channel(AHEAD);
    let (done, outcome) = oneshot::channel();
    // A thread of its own: a blocked read of stdin must not hold up the end of the process.
    std::thread::spawn(move || {
        let read = || -> Result<()> {
            let mut source: Box<dyn Read> = match &file {
                Some(path) => Box::new(
                    std::fs::File::open(path)
                        .with_context(|| format!("cannot open {}", path.display()))?,
                ),
                None => Box::new(std::io::stdin().lock()),
            };
            let mut first = true;
            loop {
                let mut piece = Vec::with_capacity(CHUNK);
                source.by_ref().take(CHUNK as u64).read_to_end(&mut piece)?;
                if piece.is_empty() && !first {
                    return Ok(());
                }
                // A daemon that refused reads no further: its answer says why.
                if pieces.blocking_send(wrap(first, piece)).is_err() {
                    return Ok(());
                }
                first = false;
            }
        };
        let _ = done.send(read());
    });
    (ReceiverStream::new(stream), outcome)
}
