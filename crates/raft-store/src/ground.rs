//! What a replica stands on: where its files lie, and who does the work that blocks.
//!
//! The host in earnest; a disk in memory when a group is simulated, where work is done in its place
//! and takes only simulated time. Used by `replica`, `raft::log`, `raft::snapshot` and
//! `raft::network`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::ChunkStream;
use crate::backend::{self, Backend, LogBackend};
#[cfg(feature = "simulation")]
use crate::simulation::Disk;

/// Chunks of a snapshot made ahead of the network.
const CHUNKS_AHEAD: usize = 2;

/// The host, or what stands for it.
#[derive(Clone, Default)]
pub(crate) enum Ground {
    #[default]
    Host,
    #[cfg(feature = "simulation")]
    Simulated(Disk),
}

/// Takes a chunk; false: nobody wants more.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

impl Ground {
    /// Opens, or creates, the database in `dir`. Blocking.
    pub(crate) fn open_log(&self, kind: Backend, dir: &Path) -> io::Result<Arc<dyn LogBackend>> {
        match self {
            Self::Host => {
                let at = |e: io::Error| io::Error::other(format!("{}: {e}", dir.display()));
                std::fs::create_dir_all(dir).map_err(at)?;
                backend::open(kind, dir)
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => disk.open_log(),
        }
    }

    /// Replaces the file `name` in `dir` as a whole: what `write` writes is on disk under that name
    /// when it returns, or what was there before still is. Blocking.
    pub(crate) fn replace(
        &self,
        dir: &Path,
        (name, partial): (&str, &str),
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Host => {
                let (path, partial) = (dir.join(name), dir.join(partial));
                fill(&partial, write).map_err(|e| at(&partial, e))?;
                std::fs::rename(&partial, &path).map_err(|e| at(&path, e))?;
                File::open(dir)?.sync_all()
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => disk.replace(name, write),
        }
    }

    /// Opens a file; `None` if there is none. Blocking.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Box<dyn Read>>> {
        match self {
            Self::Host => match File::open(path) {
                Ok(file) => Ok(Some(Box::new(BufReader::new(file)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(at(path, error)),
            },
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => disk.read(path),
        }
    }

    /// Does work that blocks. An error: it panicked, or the power failed meanwhile.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Host => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => {
                let done = work();
                disk.settle().await.map(|()| done)
            }
        }
    }

    /// A stream of what `make`, which blocks, puts out.
    pub(crate) fn stream(&self, make: impl FnOnce(Sink<'_>) + Send + 'static) -> ChunkStream {
        match self {
            Self::Host => {
                let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
                tokio::task::spawn_blocking(move || {
                    make(&mut |chunk| chunks.blocking_send(Ok(chunk)).is_ok());
                });
                Box::pin(ReceiverStream::new(stream))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => {
                let mut chunks = Vec::new();
                make(&mut |chunk| {
                    chunks.push(Ok(chunk));
                    true
                });
                Box::pin(tokio_stream::iter(chunks))
            }
        }
    }
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.into_inner().map_err(|e| e.into_error())?.sync_all()
}

pub(crate) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
