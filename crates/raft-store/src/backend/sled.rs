//! The log in sled, for comparison: `flush` alone does not make its file durable, so the file is
//! synced after it.
//!
//! That closes the power-cut hole, but not that a kill during recovery can leave a folder that
//! never opens again.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{LogBackend, Write};

pub(super) const FOLDER: &str = "raft.sled";

pub(crate) struct Sled {
    database: sled::Db,
    log: sled::Tree,
    named: sled::Tree,
    path: PathBuf,
}

impl Sled {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FOLDER);
        let database = sled::open(&path).map_err(|e| failed(&path, e))?;
        let log = database.open_tree("log").map_err(|e| failed(&path, e))?;
        let named = database.open_tree("named").map_err(|e| failed(&path, e))?;
        let backend = Self { database, log, named, path };
        backend.sync()?;
        File::open(dir)?.sync_all()?;
        Ok(backend)
    }

    fn failed(&self, error: impl Display) -> io::Error {
        failed(&self.path, error)
    }

    fn sync(&self) -> io::Result<()> {
        self.database.flush().map_err(|e| self.failed(e))?;
        File::open(self.path.join("db")).and_then(|f| f.sync_data()).map_err(|e| self.failed(e))?;
        File::open(&self.path).and_then(|f| f.sync_all()).map_err(|e| self.failed(e))
    }

    fn remove(
        &self,
        batch: &mut sled::Batch,
        range: impl std::ops::RangeBounds<Vec<u8>>,
    ) -> io::Result<()> {
        for key in self.log.range(range).keys() {
            batch.remove(key.map_err(|e| self.failed(e))?);
        }
        Ok(())
    }

    /// Log records are one batch, so that no hole can appear; named ones follow only when that one
    /// is applied.
    fn apply(&self, log: &mut sled::Batch) -> io::Result<()> {
        self.log.apply_batch(std::mem::take(log)).map_err(|e| self.failed(e))
    }
}

fn failed(path: &Path, error: impl Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

fn key(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

impl LogBackend for Sled {
    fn commit(&self, writes: Vec<Write>) -> io::Result<()> {
        let mut log = sled::Batch::default();
        let mut named = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put { index, record } => log.insert(key(index), record),
                Write::TruncateFrom(index) => {
                    // What was put before it in this batch must be there to be removed.
                    self.apply(&mut log)?;
                    self.remove(&mut log, key(index)..)?;
                }
                Write::PurgeTo(index) => {
                    self.apply(&mut log)?;
                    self.remove(&mut log, ..=key(index))?;
                }
                Write::Set { name, record } => named.insert(name, record),
            }
        }
        self.named.apply_batch(named).map_err(|e| self.failed(e))?;
        self.apply(&mut log)?;
        self.sync()
    }

    fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        for row in self.log.range(key(from)..key(to)) {
            let (index, record) = row.map_err(|e| self.failed(e))?;
            let index = <[u8; 8]>::try_from(&*index).map_err(|e| self.failed(e))?;
            bytes += record.len();
            records.push((u64::from_be_bytes(index), record.to_vec()));
            if bytes >= limit {
                break;
            }
        }
        Ok(records)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let record = self.named.get(name).map_err(|e| self.failed(e))?;
        Ok(record.map(|r| r.to_vec()))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
