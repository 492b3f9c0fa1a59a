//! Every byte of a small log and snapshot flipped in turn: detected or harmless, never served wrong.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::vote::leader_id_std::CommittedLeaderId;
use redb::StorageBackend;
use swarm_api::object::Stored;

use super::platter::Platter;
use super::*;
use crate::backend::redb::Redb;
use crate::raft::log::contents;
use crate::raft::{Command, Entry, LogId, SnapshotMeta, Vote};
use crate::state::State;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// A file with one bit flipped; what is written to it lies over it.
#[derive(Debug)]
struct Flipped {
    sound: Arc<Vec<u8>>,
    /// Byte and bit.
    flip: Option<(usize, u8)>,
    over: Mutex<BTreeMap<usize, Vec<u8>>>,
    length: AtomicUsize,
}

impl Flipped {
    fn new(sound: &Arc<Vec<u8>>, flip: Option<(usize, u8)>) -> Self {
        let length = AtomicUsize::new(sound.len());
        Self { sound: Arc::clone(sound), flip, over: Mutex::default(), length }
    }

    fn page(&self, over: &BTreeMap<usize, Vec<u8>>, page: usize) -> Vec<u8> {
        if let Some(written) = over.get(&page) {
            return written.clone();
        }
        let start = (page * PAGE).min(self.sound.len());
        let mut content = self.sound[start..(start + PAGE).min(self.sound.len())].to_vec();
        content.resize(PAGE, 0);
        if let Some((at, bit)) = self.flip.filter(|(at, _)| at / PAGE == page) {
            content[at % PAGE] ^= 1 << bit;
        }
        content
    }
}

/// The parts of pages that a range covers: page, where in it, and where in the range.
fn pieces(offset: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
    let end = offset + length;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let start = offset.max(page * PAGE);
        let within = start - page * PAGE..end.min((page + 1) * PAGE) - page * PAGE;
        (page, within, start - offset)
    })
}

impl StorageBackend for Flipped {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length.load(Ordering::Relaxed) as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let end = offset.checked_add(out.len());
        if end.is_none_or(|end| end > self.length.load(Ordering::Relaxed)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let over = self.over.lock().unwrap();
        for (page, within, at) in pieces(offset, out.len()) {
            let length = within.len();
            out[at..at + length].copy_from_slice(&self.page(&over, page)[within]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        // A damaged file may ask for anything.
        if length > 1 << 28 {
            return Err(io::Error::other("the disk is full"));
        }
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock().unwrap();
        for (page, within, at) in pieces(usize::try_from(offset).unwrap(), data.len()) {
            let mut content = self.page(&over, page);
            let length = within.len();
            content[within].copy_from_slice(&data[at..at + length]);
            over.insert(page, content);
        }
        Ok(())
    }
}

/// Where to flip: every byte of every sector that holds anything, and one byte of all others; of
/// those in pages that were written to also every byte, if `SWARM_CRASH_CYCLES` is set.
fn positions(sound: &[u8]) -> Vec<usize> {
    let all = std::env::var_os("SWARM_CRASH_CYCLES").is_some();
    let size = if all { PAGE } else { SECTOR };
    let parts = sound.chunks(size).enumerate();
    let within = |(n, part): (usize, &[u8])| {
        let used = part.iter().any(|byte| *byte != 0);
        let chosen = if used { 0..part.len() } else { n % part.len()..n % part.len() + 1 };
        chosen.map(move |at| n * size + at)
    };
    parts.flat_map(within).collect()
}

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&KEY.into()).unwrap())
}

/// The file of a log of a few entries.
async fn small_log(sealer: &Arc<Sealer>) -> Vec<u8> {
    let platter = Platter::new(Vec::new(), u64::MAX);
    let backend = Arc::new(Redb::over(platter.clone()).unwrap());
    let fatal = watch::Sender::new(None);
    let (mut log, _) = Log::open(backend, Arc::clone(sealer), fatal).unwrap();
    log.save_vote(&Vote::new(3, 1)).await.unwrap();
    let entry = |index| {
        let log_id = LogId::new(CommittedLeaderId::new(3), index);
        let command = Command(format!("command {index}").into_bytes().into());
        Entry { log_id, payload: EntryPayload::Normal(command) }
    };
    log.append((0..6).map(entry), IOFlushed::noop()).await.unwrap();
    // Comes after it, and is waited for.
    log.set_identity(&Identity { raft_id: 1, node_id: "m1".into() }).await.unwrap();
    log.close().await;
    platter.synced()
}

type Content = (Vec<Entry>, Option<Vote>);

fn read_log(disk: Flipped, sealer: &Sealer) -> io::Result<Content> {
    contents(&Redb::reading(disk)?, sealer)
}

#[derive(Debug, Default)]
struct Outcomes {
    found: usize,
    harmless: usize,
    served: Vec<usize>,
}

fn flip(positions: &[usize], sound: &Arc<Vec<u8>>, expected: &Content) -> Outcomes {
    let (sealer, mut outcomes) = (sealer(), Outcomes::default());
    for &position in positions {
        let disk = Flipped::new(sound, Some((position, (position % 8) as u8)));
        match catch_unwind(AssertUnwindSafe(|| read_log(disk, &sealer))) {
            Err(_) | Ok(Err(_)) => outcomes.found += 1,
            Ok(Ok(read)) if read == *expected => outcomes.harmless += 1,
            Ok(Ok(_)) => outcomes.served.push(position),
        }
    }
    outcomes
}

#[tokio::test]
async fn a_flipped_bit_in_a_log_is_found_or_does_no_harm() {
    let sealer = sealer();
    let sound = Arc::new(small_log(&sealer).await);
    let expected = read_log(Flipped::new(&sound, None), &sealer).unwrap();
    assert_eq!(expected.0.len(), 6);
    let positions = positions(&sound);
    // The database panics at some kinds of damage, which is to find it: that needs no report each.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let half = positions.split_at(positions.len() / 2);
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| flip(half.0, &sound, &expected));
        (flip(half.1, &sound, &expected), first.join())
    });
    std::panic::set_hook(report);
    let second = second.unwrap();
    assert_eq!([&first.served[..], &second.served[..]].concat(), [0_usize; 0], "served wrong");
    let (found, harmless) = (first.found + second.found, first.harmless + second.harmless);
    println!("log of {} bytes: {found} flips found, {harmless} harmless", sound.len());
    assert!(found > 0);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(dir.path(), sealer());
    let mut state = State::default();
    for n in 0..4 {
        state.put(Arc::new(secret(&format!("s{n}")).into_object()));
    }
    state.remember("r1", 3);
    file.write(&SnapshotMeta::default(), &state).unwrap();
    let path = dir.path().join("snapshot");
    let sound = std::fs::read(&path).unwrap();
    for position in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[position] ^= 1 << (position % 8);
        std::fs::write(&path, &damaged).unwrap();
        assert!(file.read().is_err(), "a flip at {position} was not found");
        std::fs::write(&path, &sound[..position]).unwrap();
        assert!(file.read().is_err(), "a cut at {position} was not found");
    }
    std::fs::write(&path, &sound).unwrap();
    // What a cut leaves of the next one does not count.
    std::fs::write(dir.path().join("snapshot.partial"), &sound[..sound.len() / 2]).unwrap();
    assert_eq!(file.read().unwrap().unwrap().1.request("r1"), Some(3));
    println!("snapshot of {} bytes: every flip and every cut found", sound.len());
}
