//! The Raft log: its tail in memory, all of it sealed on disk, written by one thread.
//!
//! Whatever waits when the writer comes round is one batch and one fsync. Nothing is acknowledged
//! before its batch is on disk; after a failed write nothing is acknowledged ever again. The whole
//! log is read and checked when it is opened: it is short, because it is purged after every
//! snapshot.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, RaftLogReader};
use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};

use self::sizes::Sizes;
use self::writer::{Job, Writer};
use super::wire::{Ballot, EntryRecord, Identity, Position};
use super::{Entry, LogId, Types, Vote};
use crate::backend::{LogBackend, Write};
use crate::seal::{Damage, Sealer};

#[cfg(feature = "simulation")]
mod observe;
pub(crate) mod offline;
mod sizes;
mod writer;

/// Entries kept in memory after they are on disk: what followers that keep up, and the state
/// machine, still read.
const CACHE_BYTES: usize = 8 << 20;
/// Most that one read for replication returns, unless a single entry is larger.
const READ_BYTES: usize = 1 << 20;
/// One pass of reading at start, or of sealing anew.
const SCAN_BYTES: usize = 8 << 20;

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const IDENTITY: &str = "identity";
/// All named records.
const NAMES: [&str; 4] = [VOTE, COMMITTED, PURGED, IDENTITY];

/// The log. Copies share it.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    tail: Mutex<Tail>,
    jobs: mpsc::UnboundedSender<Job>,
    // Taken when the log is closed, so that the file is free again whoever still holds a copy.
    backend: Mutex<Option<Arc<dyn LogBackend>>>,
    sealer: Arc<Sealer>,
    fatal: watch::Sender<Option<String>>,
}

/// What is known without reading the disk.
#[derive(Default)]
struct Tail {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Of all entries, also those that are only on disk.
    sizes: Sizes,
    /// Entries below this index are on disk.
    durable: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// `committed` is newer than on disk: it goes there with the next batch, never with an fsync of
    /// its own.
    committed_is_news: bool,
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.sizes.push(entry.log_id.index, weight(&entry));
        self.last = Some(entry.log_id);
        self.entries.insert(entry.log_id.index, entry);
    }

    fn take(&mut self, range: impl RangeBounds<u64>) {
        let gone: Vec<u64> = self.entries.range(range).map(|(index, _)| *index).collect();
        for index in gone {
            self.bytes -= self.entries.remove(&index).as_ref().map_or(0, weight);
        }
    }

    /// Drops the oldest entries that are on disk, down to the bound.
    fn evict(&mut self) {
        while self.bytes > CACHE_BYTES {
            match self.entries.first_key_value() {
                Some((index, _)) if *index < self.durable => {
                    let index = *index;
                    self.take(..=index);
                }
                _ => break,
            }
        }
    }
}

fn weight(entry: &Entry) -> usize {
    // The constant stands for the map's own cost per entry.
    64 + match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

fn place(index: u64) -> [u8; 12] {
    let mut context = *b"log\0........";
    context[4..].copy_from_slice(&index.to_be_bytes());
    context
}

fn damaged(path: &Path, what: &str, damage: Damage) -> io::Error {
    let text = format!("{} is damaged: {what}: {damage}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn named<M: Message + Default>(
    backend: &dyn LogBackend,
    sealer: &Sealer,
    name: &str,
) -> io::Result<Option<M>> {
    let Some(record) = backend.get(name)? else { return Ok(None) };
    let plain = sealer.open(name.as_bytes(), &record);
    let plain = plain.map_err(|e| damaged(backend.path(), name, e))?;
    let message = M::decode(&*plain);
    message.map(Some).map_err(|_| damaged(backend.path(), name, Damage::Content))
}

fn entry_of(path: &Path, sealer: &Sealer, index: u64, record: &[u8]) -> io::Result<Entry> {
    let bad = |damage| damaged(path, &format!("log entry {index}"), damage);
    let plain = sealer.open(&place(index), record).map_err(bad)?;
    let record = EntryRecord::decode(&*plain).map_err(|_| bad(Damage::Content))?;
    let entry = record.entry().map_err(|_| bad(Damage::Content))?;
    if entry.log_id.index != index {
        return Err(bad(Damage::Content));
    }
    Ok(entry)
}

impl Log {
    /// Reads and checks all of the log, and whose it is (`None` before that was settled); starts
    /// its writer. Blocking. Failures later on go to `fatal`.
    pub(crate) fn open(
        backend: Arc<dyn LogBackend>,
        sealer: Arc<Sealer>,
        fatal: watch::Sender<Option<String>>,
    ) -> io::Result<(Self, Option<Identity>)> {
        let identity = named(&*backend, &sealer, IDENTITY)?;
        let tail = restore(&*backend, &sealer)?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            tail: Mutex::new(tail),
            jobs,
            backend: Mutex::new(Some(Arc::clone(&backend))),
            sealer,
            fatal,
        });
        Writer::start(Arc::downgrade(&shared), backend, queue)?;
        Ok((Self(shared), identity))
    }

    /// Settles whose log it is.
    pub(crate) async fn set_identity(&self, identity: &Identity) -> io::Result<()> {
        self.set(IDENTITY, identity.encode_to_vec()).await
    }

    /// Writes what waits, stops the writer and closes the file.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let backend = self.0.backend.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(backend);
        if self.0.jobs.send(Job::Stop(done)).is_ok() {
            // An error means that the writer has stopped already.
            let _ = closed.await;
        }
    }

    /// Seals anew all that lies under earlier data keys.
    pub(crate) async fn reseal(&self) -> io::Result<()> {
        let mut from = Some(0);
        while let Some(index) = from {
            let (done, result) = oneshot::channel();
            self.send(Job::Reseal(index, done))?;
            from = result.await.unwrap_or_else(|_| Err(stopped()))?;
        }
        Ok(())
    }

    /// Bytes of the entries behind this index.
    pub(crate) fn bytes_behind(&self, index: Option<u64>) -> u64 {
        self.0.tail().sizes.behind(index)
    }

    /// The last entry that must go for no more than `bytes` to be left, if any must.
    pub(crate) fn excess(&self, bytes: u64) -> Option<u64> {
        self.0.tail().sizes.excess(bytes)
    }

    async fn set(&self, name: &'static str, plain: Vec<u8>) -> io::Result<()> {
        self.run(vec![Change::Set { name, plain }]).await
    }

    async fn run(&self, changes: Vec<Change>) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.send(Job::Change(changes, done))?;
        result.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.0.jobs.send(job).map_err(|_| stopped())
    }

    /// Entries from `from` up to, not including, `to`; stops once `limit` bytes are reached.
    async fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let (cached_from, mut cached) = self.0.tail().cached(from, to, limit);
        if cached_from <= from {
            return Ok(cached);
        }
        let shared = Arc::clone(&self.0);
        let upto = cached_from.min(to);
        let ground = shared.backend()?.ground();
        let older = ground.blocking(move || shared.read_disk(from, upto, limit));
        let mut entries = older.await??;
        let bytes: usize = entries.iter().map(weight).sum();
        if bytes < limit && entries.last().is_none_or(|e| e.log_id.index + 1 == cached_from) {
            entries.append(&mut cached);
        }
        Ok(entries)
    }
}

/// A change other than an append, before it is sealed.
enum Change {
    Set { name: &'static str, plain: Vec<u8> },
    TruncateFrom(u64),
    PurgeTo(u64),
}

fn stopped() -> io::Error {
    io::Error::other("the log is closed")
}

fn restore(backend: &dyn LogBackend, sealer: &Sealer) -> io::Result<Tail> {
    let purged = named::<Position>(backend, sealer, PURGED)?.map(LogId::from);
    let mut tail = Tail {
        purged,
        last: purged,
        vote: named::<Ballot>(backend, sealer, VOTE)?.map(Vote::from),
        committed: named::<Position>(backend, sealer, COMMITTED)?.map(LogId::from),
        sizes: Sizes::from(purged.map_or(0, |p| p.index + 1)),
        ..Tail::default()
    };
    // Whatever is older than the purge mark does not count, even if it is still there.
    let mut next = purged.map_or(0, |p| p.index + 1);
    loop {
        let records = backend.read(next, u64::MAX, SCAN_BYTES)?;
        if records.is_empty() {
            break;
        }
        for (index, record) in records {
            if index != next {
                let what = format!("log entries before {index} are missing");
                return Err(damaged(backend.path(), &what, Damage::Content));
            }
            tail.push(entry_of(backend.path(), sealer, index, &record)?);
            next = index + 1;
        }
        tail.durable = next;
        tail.evict();
    }
    tail.durable = tail.last.map_or(0, |l| l.index + 1);
    Ok(tail)
}

/// Records under earlier data keys, from this entry on, sealed anew; and where to go on. The named
/// ones come with the first entry.
fn outdated(
    backend: &dyn LogBackend,
    sealer: &Sealer,
    from: u64,
) -> io::Result<(Vec<Write>, Option<u64>)> {
    let at = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", backend.path().display()));
    let mut writes = Vec::new();
    if from == 0 {
        for name in NAMES {
            let record = backend.get(name)?.filter(|record| sealer.is_outdated(record));
            if let Some(record) = record {
                let record = sealer.reseal(name.as_bytes(), &record).map_err(at)?;
                writes.push(Write::Set { name, record });
            }
        }
    }
    let mut next = None;
    for (index, record) in backend.read(from, u64::MAX, SCAN_BYTES)? {
        if sealer.is_outdated(&record) {
            let record = sealer.reseal(&place(index), &record).map_err(at)?;
            writes.push(Write::Put { index, record });
        }
        next = Some(index + 1);
    }
    Ok((writes, next))
}

/// All that the log says, as it would be served.
#[cfg(test)]
pub(crate) fn contents(
    backend: &dyn LogBackend,
    sealer: &Sealer,
) -> io::Result<(Vec<Entry>, Option<Vote>)> {
    let tail = restore(backend, sealer)?;
    Ok((tail.entries.into_values().collect(), tail.vote))
}

impl Tail {
    /// The cached part of a range, and where it starts.
    fn cached(&self, from: u64, to: u64, limit: usize) -> (u64, Vec<Entry>) {
        let start = match self.entries.first_key_value() {
            Some((first, _)) => *first,
            None => self.last.map_or(0, |l| l.index + 1),
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (_, entry) in self.entries.range(from.max(start)..to.max(from.max(start))) {
            bytes += weight(entry);
            entries.push(entry.clone());
            if bytes >= limit {
                break;
            }
        }
        (start, entries)
    }
}

impl Shared {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Nothing between lock and unlock panics half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backend(&self) -> io::Result<Arc<dyn LogBackend>> {
        let backend = self.backend.lock().unwrap_or_else(PoisonError::into_inner);
        backend.clone().ok_or_else(stopped)
    }

    fn read_disk(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let backend = self.backend()?;
        let read = || -> io::Result<Vec<Entry>> {
            let open = |(index, record): (u64, Vec<u8>)| {
                entry_of(backend.path(), &self.sealer, index, &record)
            };
            backend.read(from, to, limit)?.into_iter().map(open).collect()
        };
        // Its key may have been rotated away between reading and opening: then it lies there anew.
        read().or_else(|_| read()).inspect_err(|error| {
            self.fatal.send_if_modified(|fatal| {
                fatal.is_none() && fatal.replace(error.to_string()).is_none()
            });
        })
    }
}

fn bounds(range: impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(range);
        self.read(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.tail().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let tail = self.0.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.set(VOTE, Ballot::from(vote).encode_to_vec()).await?;
        self.0.tail().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut tail = self.0.tail();
        tail.committed = committed;
        tail.committed_is_news = true;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.0.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut tail = self.0.tail();
            entries.iter().for_each(|entry| tail.push(entry.clone()));
        }
        self.send(Job::Append(entries, callback))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |l| l.index + 1);
        self.run(vec![Change::TruncateFrom(from)]).await?;
        let mut tail = self.0.tail();
        tail.take(from..);
        tail.sizes.truncate(from);
        tail.durable = tail.durable.min(from);
        if tail.last.is_some_and(|l| l.index >= from) {
            tail.last = last.or(tail.purged);
        }
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let plain = Position::from(&upto).encode_to_vec();
        let mark = Change::Set { name: PURGED, plain };
        self.run(vec![Change::PurgeTo(upto.index), mark]).await?;
        let mut tail = self.0.tail();
        tail.take(..=upto.index);
        tail.sizes.purge(upto.index);
        tail.purged = Some(upto);
        // A purge after a snapshot from the leader may go beyond the log.
        if tail.last.is_none_or(|last| last.index <= upto.index) {
            tail.last = Some(upto);
            tail.durable = upto.index + 1;
        }
        Ok(())
    }
}

impl Change {
    fn seal(self, sealer: &Sealer) -> io::Result<Write> {
        Ok(match self {
            Change::Set { name, plain } => {
                Write::Set { name, record: sealer.seal(name.as_bytes(), &plain)? }
            }
            Change::TruncateFrom(index) => Write::TruncateFrom(index),
            Change::PurgeTo(index) => Write::PurgeTo(index),
        })
    }
}
