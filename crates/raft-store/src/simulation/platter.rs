//! A file in memory that remembers the order of what was written and synced since it last was
//! settled, and can tell what a power cut at any moment in between may leave.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use redb::StorageBackend;

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// A database that asks for more has gone wrong.
const LARGEST: usize = 1 << 28;

#[derive(Debug, Clone)]
pub(crate) struct Platter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: Vec<u8>,
    settled: Vec<u8>,
    since: Vec<Step>,
    dead: bool,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

impl Step {
    fn take_place(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => put(image, *offset, data),
            Self::Length(length) => image.resize(*length, 0),
            Self::Sync => {}
        }
    }

    /// Some of it, all of it, or nothing.
    fn may_take_place(&self, image: &mut Vec<u8>, random: &mut StdRng) {
        match (random.random_range(0..3), self) {
            (0, _) => {}
            (1, Self::Write(offset, data)) => {
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if random.random() {
                        put(image, offset + n * SECTOR, sector);
                    }
                }
            }
            _ => self.take_place(image),
        }
    }
}

impl Platter {
    /// A file of this content, all of it on disk.
    pub(crate) fn holding(image: Vec<u8>) -> Self {
        let state = State { now: image.clone(), settled: image, since: Vec::new(), dead: false };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to the last sync is there to stay.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        let State { settled, since, .. } = &mut *state;
        let done = synced(since, since.len());
        since.drain(..done).for_each(|step| step.take_place(settled));
    }

    /// Fails whatever is tried from now on.
    pub(crate) fn kill(&self) {
        self.state().dead = true;
    }

    /// What may be found if the power failed at a random moment since the last settling.
    pub(crate) fn remains(&self, random: &mut StdRng) -> Vec<u8> {
        let state = self.state();
        let mut image = state.settled.clone();
        let cut = random.random_range(0..=state.since.len());
        let certain = synced(&state.since, cut);
        state.since[..certain].iter().for_each(|step| step.take_place(&mut image));
        for step in &state.since[certain..cut] {
            step.may_take_place(&mut image, random);
        }
        image
    }

    fn act<T>(&self, act: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.state();
        match state.dead {
            true => Err(io::Error::other("the power has failed")),
            false => Ok(act(&mut state)),
        }
    }
}

/// How many of the first `upto` steps a sync covers.
fn synced(steps: &[Step], upto: usize) -> usize {
    let last = steps[..upto].iter().rposition(|step| matches!(step, Step::Sync));
    last.map_or(0, |at| at + 1)
}

fn size(value: u64) -> io::Result<usize> {
    let size = usize::try_from(value).map_err(io::Error::other)?;
    match size > LARGEST {
        true => Err(io::Error::other("the disk is full")),
        false => Ok(size),
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = size(offset)?;
        self.act(|state| {
            let end = from.checked_add(out.len());
            let found = end.and_then(|end| state.now.get(from..end));
            let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            out.copy_from_slice(found);
            Ok(())
        })?
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = size(len)?;
        self.act(|state| {
            state.now.resize(length, 0);
            state.since.push(Step::Length(length));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.act(|state| state.since.push(Step::Sync))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = size(offset)?;
        self.act(|state| {
            put(&mut state.now, offset, data);
            state.since.push(Step::Write(offset, data.to_vec()));
        })
    }
}
