//! A disk that holds a replica's database and snapshot in memory, takes its time, and loses at a
//! power cut what no completed sync covers.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::platter::Platter;
use crate::backend::redb::Redb;
use crate::backend::{self, LogBackend};
use crate::ground::Ground;

/// How long the next operation takes.
pub type Pace = Box<dyn FnMut() -> Duration + Send>;

/// A disk. Copies share it.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Drive>>);

struct Drive {
    /// Under the database.
    platter: Platter,
    files: BTreeMap<String, Vec<u8>>,
    /// What replaced files held before, oldest first, while it may still come back.
    replaced: Vec<(String, Option<Vec<u8>>)>,
    pace: Pace,
    dead: bool,
    lies: bool,
}

impl Disk {
    /// An empty disk.
    pub fn new(pace: Pace) -> Self {
        Self::with(Platter::holding(Vec::new()), BTreeMap::new(), pace)
    }

    /// A disk that calls synced what it has not written: with it a group must come to harm.
    pub fn lying(self) -> Self {
        self.drive().lies = true;
        self
    }

    fn with(platter: Platter, files: BTreeMap<String, Vec<u8>>, pace: Pace) -> Self {
        let drive = Drive { platter, files, replaced: Vec::new(), pace, dead: false, lies: false };
        Self(Arc::new(Mutex::new(drive)))
    }

    fn drive(&self) -> MutexGuard<'_, Drive> {
        // Nothing between lock and unlock panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power: nothing is read or written here any more. The disk as it is found
    /// afterwards: all that was settled, and of the rest some, none, or torn.
    pub fn cut(&self, random: &mut StdRng, pace: Pace) -> Disk {
        let mut drive = self.drive();
        drive.dead = true;
        drive.platter.kill();
        let image = drive.platter.remains(random);
        let mut files = drive.files.clone();
        // A later replacement cannot survive an earlier one that did not.
        let lost = random.random_range(0..=drive.replaced.len());
        for (name, before) in drive.replaced[lost..].iter().rev() {
            match before {
                Some(content) => files.insert(name.clone(), content.clone()),
                None => files.remove(name),
            };
        }
        let lies = drive.lies;
        drop(drive);
        let remains = Self::with(Platter::holding(image), files, pace);
        if lies { remains.lying() } else { remains }
    }

    pub(crate) fn open_log(&self) -> io::Result<Arc<dyn LogBackend>> {
        let platter = self.drive().platter.clone();
        let database = Redb::over(platter)?;
        Ok(Arc::new(Simulated { database, disk: self.clone() }))
    }

    pub(crate) fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut content = Vec::new();
        write(&mut content)?;
        let mut drive = self.drive();
        alive(&drive)?;
        let before = drive.files.insert(name.to_owned(), content);
        drive.replaced.push((name.to_owned(), before));
        Ok(())
    }

    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Box<dyn Read>>> {
        let drive = self.drive();
        alive(&drive)?;
        let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        let content = drive.files.get(&*name).cloned();
        Ok(content.map(|content| Box::new(Cursor::new(content)) as Box<dyn Read>))
    }

    /// Lets others go first, as a thread that has to wake up does.
    pub(crate) async fn seek(&self) {
        tokio::task::yield_now().await;
    }

    /// Waits until all that was synced is on disk for good. An error: the power failed before.
    pub(crate) async fn settle(&self) -> io::Result<()> {
        let took = (self.drive().pace)();
        tokio::time::sleep(took).await;
        let mut drive = self.drive();
        alive(&drive)?;
        if !drive.lies {
            drive.platter.settle();
            drive.replaced.clear();
        }
        Ok(())
    }
}

fn alive(drive: &Drive) -> io::Result<()> {
    match drive.dead {
        true => Err(io::Error::other("the power has failed")),
        false => Ok(()),
    }
}

/// The database on a disk of this kind.
struct Simulated {
    database: Redb,
    disk: Disk,
}

impl LogBackend for Simulated {
    fn commit(&self, writes: Vec<backend::Write>) -> io::Result<()> {
        self.database.commit(writes)
    }

    fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.database.read(from, to, limit)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.database.get(name)
    }

    fn path(&self) -> &Path {
        self.database.path()
    }

    fn ground(&self) -> Ground {
        Ground::Simulated(self.disk.clone())
    }
}
