//! The log in redb, every commit with `Durability::Immediate`.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{LogBackend, Write};

pub(super) const FILE: &str = "raft.redb";
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const NAMED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("named");

/// The log's tail is cached above this layer, so pages are read again only when a follower lags.
const CACHE_BYTES: usize = 4 << 20;

pub(crate) struct Redb {
    database: Database,
    path: PathBuf,
}

impl Redb {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        if !path.try_exists()? {
            Self::make(dir, &path)?;
        }
        let database = builder().open(&path).map_err(|e| failed(&path, e))?;
        Ok(Self { database, path })
    }

    /// Makes the file aside and names it when it is whole: a power cut while a database is begun
    /// leaves none, never one that cannot be opened.
    fn make(dir: &Path, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let database = builder().create(&part).map_err(|e| failed(&part, e))?;
        drop(Self::with_tables(database, part.clone())?);
        std::fs::rename(&part, path)?;
        // The file's entry in its folder is on disk from here on.
        File::open(dir)?.sync_all()
    }

    /// On a disk of the test's own.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(disk: impl redb::StorageBackend) -> io::Result<Self> {
        let path = PathBuf::from(FILE);
        let database = builder().create_with_backend(disk).map_err(|e| failed(&path, e))?;
        Self::with_tables(database, path)
    }

    fn with_tables(database: Database, path: PathBuf) -> io::Result<Self> {
        let backend = Self { database, path };
        // Opens, and so makes, both tables.
        backend.commit(Vec::new())?;
        Ok(backend)
    }

    fn failed(&self, error: impl Display) -> io::Error {
        failed(&self.path, error)
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn failed(path: &Path, error: impl Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

impl LogBackend for Redb {
    fn commit(&self, writes: Vec<Write>) -> io::Result<()> {
        let mut transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        transaction.set_durability(Durability::Immediate).map_err(|e| self.failed(e))?;
        {
            let mut log = transaction.open_table(LOG).map_err(|e| self.failed(e))?;
            let mut named = transaction.open_table(NAMED).map_err(|e| self.failed(e))?;
            for write in writes {
                match write {
                    Write::Put { index, record } => {
                        log.insert(index, &*record).map(|_| ()).map_err(|e| self.failed(e))?;
                    }
                    Write::TruncateFrom(index) => {
                        log.retain_in(index.., |_, _| false).map_err(|e| self.failed(e))?;
                    }
                    Write::PurgeTo(index) => {
                        log.retain_in(..=index, |_, _| false).map_err(|e| self.failed(e))?;
                    }
                    Write::Set { name, record } => {
                        named.insert(name, &*record).map(|_| ()).map_err(|e| self.failed(e))?;
                    }
                }
            }
        }
        transaction.commit().map_err(|e| self.failed(e))
    }

    fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let transaction = self.database.begin_read().map_err(|e| self.failed(e))?;
        let log = transaction.open_table(LOG).map_err(|e| self.failed(e))?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for row in log.range(from..to).map_err(|e| self.failed(e))? {
            let (index, record) = row.map_err(|e| self.failed(e))?;
            bytes += record.value().len();
            records.push((index.value(), record.value().to_vec()));
            if bytes >= limit {
                break;
            }
        }
        Ok(records)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let transaction = self.database.begin_read().map_err(|e| self.failed(e))?;
        let named = transaction.open_table(NAMED).map_err(|e| self.failed(e))?;
        let record = named.get(name).map_err(|e| self.failed(e))?;
        Ok(record.map(|r| r.value().to_vec()))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
