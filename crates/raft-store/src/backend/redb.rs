//! The log in redb, every commit with `Durability::Immediate`.
//!
//! The database checks its pages only after a crash: a damaged key or count would otherwise make
//! records vanish. So a manifest, written with every commit, holds the named records and says which
//! log records there are; what it says is checked when the database is opened.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::{LogBackend, Write};

pub(super) const FILE: &str = "raft.redb";
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const MANIFEST: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("manifest");
const KEY: &str = "manifest";
const CHECKSUM: usize = 4;

/// The log's tail is cached above this layer, so pages are read again only when a follower lags.
const CACHE_BYTES: usize = 4 << 20;

/// What must be there.
#[derive(Clone, PartialEq, Message)]
struct Manifest {
    #[prost(btree_map = "string, bytes", tag = "1")]
    named: BTreeMap<String, Vec<u8>>,
    #[prost(uint64, optional, tag = "2")]
    first: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    last: Option<u64>,
    #[prost(uint64, tag = "4")]
    records: u64,
}

impl Manifest {
    /// The same named records, with what is in the log now.
    fn counted<E: Display>(
        self,
        log: &impl ReadableTable<u64, &'static [u8]>,
        failed: impl Fn(redb::StorageError) -> E,
    ) -> Result<Self, E> {
        let first = log.first().map_err(&failed)?.map(|(index, _)| index.value());
        let last = log.last().map_err(&failed)?.map(|(index, _)| index.value());
        let records = log.len().map_err(&failed)?;
        Ok(Self { first, last, records, ..self })
    }

    fn seal(&self) -> Vec<u8> {
        let mut bytes = vec![0; CHECKSUM];
        bytes.extend_from_slice(&self.encode_to_vec());
        let checksum = crc32fast::hash(&bytes[CHECKSUM..]);
        bytes[..CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn open(bytes: &[u8]) -> Option<Self> {
        let (checksum, encoded) = bytes.split_first_chunk::<CHECKSUM>()?;
        let sound = crc32fast::hash(encoded) == u32::from_be_bytes(*checksum);
        sound.then(|| Self::decode(encoded).ok()).flatten()
    }
}

pub(crate) struct Redb {
    database: Database,
    path: PathBuf,
    manifest: Mutex<Manifest>,
}

impl Redb {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        if !path.try_exists()? {
            Self::make(dir, &path)?;
        }
        let database = builder().open(&path).map_err(|e| failed(&path, e))?;
        Self::checked(database, path)
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
        drop(Self::begun(database, part.clone())?);
        std::fs::rename(&part, path)?;
        // The file's entry in its folder is on disk from here on.
        File::open(dir)?.sync_all()
    }

    /// On a disk of the caller's own; begins the database if it was not begun.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(disk: impl redb::StorageBackend) -> io::Result<Self> {
        let path = PathBuf::from(FILE);
        let database = builder().create_with_backend(disk).map_err(|e| failed(&path, e))?;
        let transaction = database.begin_read().map_err(|e| failed(&path, e))?;
        let tables = transaction.list_tables().map_err(|e| failed(&path, e))?.count();
        drop(transaction);
        if tables == 0 { Self::begun(database, path) } else { Self::checked(database, path) }
    }

    /// On a disk of the test's own that holds a database.
    #[cfg(test)]
    pub(crate) fn reading(disk: impl redb::StorageBackend) -> io::Result<Self> {
        let path = PathBuf::from(FILE);
        let database = builder().create_with_backend(disk).map_err(|e| failed(&path, e))?;
        Self::checked(database, path)
    }

    fn begun(database: Database, path: PathBuf) -> io::Result<Self> {
        let backend = Self { database, path, manifest: Mutex::default() };
        // Opens, and so makes, both tables.
        backend.commit(Vec::new())?;
        Ok(backend)
    }

    /// What the manifest names is there, and nothing else.
    fn checked(database: Database, path: PathBuf) -> io::Result<Self> {
        let failed = |e: &dyn Display| failed(&path, e);
        let transaction = database.begin_read().map_err(|e| failed(&e))?;
        let log = transaction.open_table(LOG).map_err(|e| failed(&e))?;
        let table = transaction.open_table(MANIFEST).map_err(|e| failed(&e))?;
        let record = table.get(KEY).map_err(|e| failed(&e))?;
        let manifest = record.and_then(|record| Manifest::open(record.value()));
        let damaged = |what: &str| {
            let text = format!("{} is damaged: {what}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let manifest = manifest.ok_or_else(|| damaged("its manifest is missing or garbled"))?;
        let found = manifest.clone().counted(&log, |e| failed(&e))?;
        if found != manifest {
            return Err(damaged("records that its manifest names are missing"));
        }
        drop((log, table, transaction));
        Ok(Self { database, path, manifest: Mutex::new(manifest) })
    }

    fn failed(&self, error: impl Display) -> io::Error {
        failed(&self.path, error)
    }

    fn manifest(&self) -> MutexGuard<'_, Manifest> {
        // Replaced as a whole.
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
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

fn write(
    log: &mut Table<'_, u64, &'static [u8]>,
    manifest: &mut Manifest,
    write: Write,
) -> Result<(), redb::StorageError> {
    match write {
        Write::Put { index, record } => log.insert(index, &*record).map(|_| ()),
        Write::TruncateFrom(index) => log.retain_in(index.., |_, _| false),
        Write::PurgeTo(index) => log.retain_in(..=index, |_, _| false),
        Write::Set { name, record } => {
            manifest.named.insert(name.to_owned(), record);
            Ok(())
        }
    }
}

impl LogBackend for Redb {
    fn commit(&self, writes: Vec<Write>) -> io::Result<()> {
        let mut transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        transaction.set_durability(Durability::Immediate).map_err(|e| self.failed(e))?;
        let mut manifest = self.manifest().clone();
        {
            let mut log = transaction.open_table(LOG).map_err(|e| self.failed(e))?;
            for change in writes {
                write(&mut log, &mut manifest, change).map_err(|e| self.failed(e))?;
            }
            manifest = manifest.counted(&log, |e| self.failed(e))?;
            let mut table = transaction.open_table(MANIFEST).map_err(|e| self.failed(e))?;
            table.insert(KEY, &*manifest.seal()).map_err(|e| self.failed(e))?;
        }
        transaction.commit().map_err(|e| self.failed(e))?;
        *self.manifest() = manifest;
        Ok(())
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
        Ok(self.manifest().named.get(name).cloned())
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
