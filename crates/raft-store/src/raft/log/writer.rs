//! The log's writer: a thread of its own, because writing blocks, that turns all that waits into
//! one batch.

use std::io;
use std::sync::{Arc, Weak};

use openraft::storage::IOFlushed;
use prost::Message;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::{COMMITTED, Change, Shared, place};
use crate::backend::{LogBackend, Write};
use crate::ground::Ground;
use crate::raft::wire::{EntryRecord, Position};
use crate::raft::{Entry, Types};

/// Jobs in one batch: bounds how long the first of them waits for the fsync.
const BATCH_JOBS: usize = 1024;

/// Work for the writer, done in order.
pub(super) enum Job {
    Append(Vec<Entry>, IOFlushed<Types>),
    Change(Vec<Change>, oneshot::Sender<io::Result<()>>),
    /// Seals anew what lies under earlier data keys: the entries from this index on, some at a
    /// time. Answers where to go on.
    Reseal(u64, oneshot::Sender<io::Result<Option<u64>>>),
    Stop(oneshot::Sender<()>),
}

/// Whom to tell when a batch is on disk.
enum Waiting {
    Append(IOFlushed<Types>),
    Change(oneshot::Sender<io::Result<()>>),
}

impl Waiting {
    fn tell(self, result: io::Result<()>) {
        match self {
            Waiting::Append(callback) => callback.io_completed(result),
            // The caller may have gone away.
            Waiting::Change(done) => drop(done.send(result)),
        }
    }
}

pub(super) struct Writer {
    shared: Weak<Shared>,
    backend: Arc<dyn LogBackend>,
    // After one failed write the state of the disk is unknown: nothing is written or acknowledged
    // any more.
    failed: Option<(io::ErrorKind, String)>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The database panics at some kinds of damage. Whoever waits for the writer then waits in
        // vain.
        if std::thread::panicking() {
            let text = format!("{}: its writer has died", self.backend.path().display());
            self.fail(&io::Error::other(text));
        }
    }
}

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    waiting: Vec<Waiting>,
    last: Option<u64>,
    /// What comes after this batch, and ends it.
    then: Option<Then>,
    /// Why it is not whole.
    unsealed: Option<io::Error>,
}

enum Then {
    Reseal(u64, oneshot::Sender<io::Result<Option<u64>>>),
    Stop(oneshot::Sender<()>),
}

impl Writer {
    pub(super) fn start(
        shared: Weak<Shared>,
        backend: Arc<dyn LogBackend>,
        queue: UnboundedReceiver<Job>,
    ) -> io::Result<()> {
        let writer = Self { shared, backend, failed: None };
        match writer.backend.ground() {
            Ground::Host => {
                let thread = std::thread::Builder::new().name("raft-log".into());
                thread.spawn(move || writer.run(queue))?;
            }
            #[cfg(feature = "simulation")]
            Ground::Simulated(disk) => drop(tokio::spawn(writer.run_on(disk, queue))),
        }
        Ok(())
    }

    fn run(mut self, mut queue: UnboundedReceiver<Job>) {
        // The queue ends when the last copy of the log is dropped.
        while let Some(first) = queue.blocking_recv() {
            let mut batch = self.gather(first, &mut queue);
            let result = self.write(&mut batch);
            match self.finish(batch, &result) {
                None => {}
                // Whoever asked may have gone away.
                Some(Then::Reseal(from, done)) => drop(done.send(self.reseal(from))),
                Some(Then::Stop(done)) => {
                    drop(self);
                    // Nobody has to wait for it.
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    #[cfg(feature = "simulation")]
    async fn run_on(mut self, disk: crate::simulation::Disk, mut queue: UnboundedReceiver<Job>) {
        while let Some(first) = queue.recv().await {
            disk.seek().await;
            let mut batch = self.gather(first, &mut queue);
            let written = self.write(&mut batch);
            let settled = disk.settle().await;
            match self.finish(batch, &written.and(settled)) {
                None => {}
                Some(Then::Reseal(from, done)) => drop(done.send(self.reseal(from))),
                Some(Then::Stop(done)) => {
                    drop(self);
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// All that waits, as one batch.
    fn gather(&self, first: Job, queue: &mut UnboundedReceiver<Job>) -> Batch {
        let mut batch = Batch::default();
        let mut sealed = self.add(&mut batch, first);
        while sealed.is_ok() && batch.then.is_none() && batch.waiting.len() < BATCH_JOBS {
            match queue.try_recv() {
                Ok(job) => sealed = self.add(&mut batch, job),
                Err(_) => break,
            }
        }
        batch.unsealed = sealed.err();
        batch
    }

    fn add(&self, batch: &mut Batch, job: Job) -> io::Result<()> {
        let shared = self.shared.upgrade();
        match job {
            Job::Stop(done) => batch.then = Some(Then::Stop(done)),
            Job::Reseal(from, done) => batch.then = Some(Then::Reseal(from, done)),
            Job::Append(entries, callback) => {
                batch.waiting.push(Waiting::Append(callback));
                let Some(shared) = shared else { return Err(super::stopped()) };
                for entry in &entries {
                    let index = entry.log_id.index;
                    let plain = EntryRecord::from(entry).encode_to_vec();
                    let record = shared.sealer.seal(&place(index), &plain)?;
                    batch.writes.push(Write::Put { index, record });
                    batch.last = Some(index);
                }
            }
            Job::Change(changes, done) => {
                batch.waiting.push(Waiting::Change(done));
                let Some(shared) = shared else { return Err(super::stopped()) };
                for change in changes {
                    batch.writes.push(change.seal(&shared.sealer)?);
                }
            }
        }
        Ok(())
    }

    fn write(&self, batch: &mut Batch) -> io::Result<()> {
        if let Some((kind, text)) = &self.failed {
            return Err(io::Error::new(*kind, text.clone()));
        }
        if let Some(error) = batch.unsealed.take() {
            return Err(error);
        }
        self.add_committed(batch)?;
        match batch.writes.is_empty() {
            true => Ok(()),
            false => self.backend.commit(std::mem::take(&mut batch.writes)),
        }
    }

    /// Tells everybody; what comes next.
    fn finish(&mut self, batch: Batch, result: &io::Result<()>) -> Option<Then> {
        match result {
            Ok(()) => self.mark_durable(batch.last),
            Err(error) => self.fail(error),
        }
        for waiting in batch.waiting {
            let copy = |e: &io::Error| io::Error::new(e.kind(), e.to_string());
            waiting.tell(result.as_ref().copied().map_err(copy));
        }
        batch.then
    }

    fn add_committed(&self, batch: &mut Batch) -> io::Result<()> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        let committed = {
            let mut tail = shared.tail();
            std::mem::take(&mut tail.committed_is_news).then_some(tail.committed).flatten()
        };
        if let Some(committed) = committed {
            let plain = Position::from(&committed).encode_to_vec();
            batch.writes.push(Change::Set { name: COMMITTED, plain }.seal(&shared.sealer)?);
        }
        Ok(())
    }

    fn mark_durable(&self, last: Option<u64>) {
        if let (Some(last), Some(shared)) = (last, self.shared.upgrade()) {
            let mut tail = shared.tail();
            tail.durable = last + 1;
            tail.evict();
        }
    }

    fn reseal(&mut self, from: u64) -> io::Result<Option<u64>> {
        if let Some((kind, text)) = &self.failed {
            return Err(io::Error::new(*kind, text.clone()));
        }
        let Some(shared) = self.shared.upgrade() else { return Err(super::stopped()) };
        let (writes, next) = super::outdated(&*self.backend, &shared.sealer, from)?;
        let written = if writes.is_empty() { Ok(()) } else { self.backend.commit(writes) };
        written.inspect_err(|error| self.fail(error))?;
        Ok(next)
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some((error.kind(), error.to_string()));
        if let Some(shared) = self.shared.upgrade() {
            shared.fatal.send_if_modified(|fatal| {
                fatal.is_none() && fatal.replace(error.to_string()).is_none()
            });
        }
    }
}
