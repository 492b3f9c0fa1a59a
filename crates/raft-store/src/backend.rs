//! What the log needs of a database: ordered records, a few named ones, and batches that are on
//! disk when they return.
//!
//! Blocking. Records are opaque here: `raft::log` seals and checks them. Chosen by measurement: see
//! ADR 1.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::ground::Ground;

pub(crate) mod redb;
#[cfg(feature = "sled")]
pub(crate) mod sled;

/// Which database keeps the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Loses nothing that it acknowledged.
    #[default]
    Redb,
    /// In our tests it lost acknowledged writes at power cuts, and a kill while it recovers can
    /// leave a folder that never opens again. For comparison only.
    #[cfg(feature = "sled")]
    Sled,
}

impl Backend {
    /// Name of its file or folder.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Backend::Redb => redb::FILE,
            #[cfg(feature = "sled")]
            Backend::Sled => sled::FOLDER,
        }
    }
}

/// One change to the database.
pub(crate) enum Write {
    /// A log record.
    Put { index: u64, record: Vec<u8> },
    /// Removes the records from this index on.
    TruncateFrom(u64),
    /// Removes the records up to and with this index.
    PurgeTo(u64),
    /// A named record.
    Set { name: &'static str, record: Vec<u8> },
}

/// A database. Errors name its file.
pub(crate) trait LogBackend: Send + Sync {
    /// All of `writes`, in order, or none; on disk when it returns.
    fn commit(&self, writes: Vec<Write>) -> io::Result<()>;
    /// Log records from `from` up to, not including, `to`, in order; at least one if there is one,
    /// and no more once `limit` bytes are reached.
    fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>>;
    /// A named record.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// For messages.
    fn path(&self) -> &Path;
    /// Who does its work.
    fn ground(&self) -> Ground {
        Ground::Host
    }
}

/// Opens, or creates, the database in `dir`.
pub(crate) fn open(kind: Backend, dir: &Path) -> io::Result<Arc<dyn LogBackend>> {
    match kind {
        Backend::Redb => Ok(Arc::new(redb::Redb::open(dir)?)),
        #[cfg(feature = "sled")]
        Backend::Sled => Ok(Arc::new(sled::Sled::open(dir)?)),
    }
}
