//! A disk in memory that keeps apart what was synced from what was only written, and whose power
//! fails when told. Used by `power` and `flips`.

use std::io;

use rand::RngExt;
use rand::rngs::StdRng;
use redb::StorageBackend;

use super::*;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
pub(super) struct Platter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Step>,
    /// Operations until the power fails.
    left: u64,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

impl Platter {
    /// A disk with this content, whose power fails after `left` operations.
    pub(super) fn new(image: Vec<u8>, left: u64) -> Self {
        let state = State { now: image.clone(), synced: image, since: Vec::new(), left };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What is certain to be on the disk.
    pub(super) fn synced(&self) -> Vec<u8> {
        self.0.lock().unwrap().synced.clone()
    }

    /// What may be found after the power has failed: of what was not synced, some is there, some
    /// is not, and some is torn.
    pub(super) fn remains(&self, random: &mut StdRng) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut image = state.synced.clone();
        for step in &state.since {
            match (random.random_range(0..3), step) {
                (0, _) => {}
                (_, Step::Length(length)) => image.resize(*length, 0),
                (1, Step::Write(offset, data)) => put(&mut image, *offset, data),
                (_, Step::Write(offset, data)) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if random.random() {
                            put(&mut image, offset + n * SECTOR, sector);
                        }
                    }
                }
            }
        }
        image
    }

    fn act<T>(&self, act: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let left = state.left.checked_sub(1);
        state.left = left.ok_or_else(|| io::Error::other("the power has failed"))?;
        Ok(act(&mut state))
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, from) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        let end = from.checked_add(out.len());
        let found = end.and_then(|end| state.now.get(from..end));
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = usize::try_from(len).unwrap();
        // A damaged file may ask for anything.
        if length > 1 << 28 {
            return Err(io::Error::other("the disk is full"));
        }
        self.act(|state| {
            state.now.resize(length, 0);
            state.since.push(Step::Length(length));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.act(|state| {
            for step in std::mem::take(&mut state.since) {
                match step {
                    Step::Length(length) => state.synced.resize(length, 0),
                    Step::Write(offset, data) => put(&mut state.synced, offset, &data),
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.act(|state| {
            let offset = usize::try_from(offset).unwrap();
            put(&mut state.now, offset, data);
            state.since.push(Step::Write(offset, data.to_vec()));
        })
    }
}
