//! Every byte of a small log and snapshot flipped in turn: detected or harmless, never served wrong.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::vote::leader_id_std::CommittedLeaderId;
use swarm_api::object::Stored;

use super::platter::Platter;
use super::*;
use crate::backend::redb::Redb;
use crate::raft::log::contents;
use crate::raft::{Command, Entry, LogId, SnapshotMeta, Vote};
use crate::state::State;

/// What the database writes at once at the least.
const SECTOR: usize = 512;
/// In a test run only every so-manieth byte of the log file is flipped.
const STRIDE: usize = 97;

/// Where to flip: one byte of every sector that nothing was ever written to, and with
/// `SWARM_CRASH_CYCLES` set every byte of all others.
fn positions(sound: &[u8]) -> Vec<usize> {
    let stride = if std::env::var_os("SWARM_CRASH_CYCLES").is_some() { 1 } else { STRIDE };
    let sectors = sound.chunks(SECTOR).enumerate();
    let within = |(n, sector): (usize, &[u8])| {
        let used = sector.iter().any(|byte| *byte != 0);
        let chosen = match (used, stride) {
            (true, _) => (0..sector.len()).step_by(stride),
            // Most of the file: a few of them will do in a test run.
            (false, STRIDE) if n % 16 != 0 => (0..0).step_by(1),
            (false, _) => (n % sector.len()..n % sector.len() + 1).step_by(1),
        };
        chosen.map(|at| n * SECTOR + at).collect::<Vec<_>>()
    };
    sectors.flat_map(within).collect()
}

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&KEY).unwrap())
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

fn read_log(image: Vec<u8>, sealer: &Sealer) -> io::Result<(Vec<Entry>, Option<Vote>)> {
    contents(&Redb::over(Platter::new(image, u64::MAX))?, sealer)
}

#[tokio::test]
async fn a_flipped_bit_in_a_log_is_found_or_does_no_harm() {
    let sealer = sealer();
    let sound = small_log(&sealer).await;
    let expected = read_log(sound.clone(), &sealer).unwrap();
    assert_eq!(expected.0.len(), 6);
    let (mut found, mut harmless) = (0, 0);
    // The database panics at some kinds of damage, which is to find it: that needs no report each.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut served = Vec::new();
    for position in positions(&sound) {
        let mut damaged = sound.clone();
        damaged[position] ^= 1 << (position % 8);
        match catch_unwind(AssertUnwindSafe(|| read_log(damaged, &sealer))) {
            Err(_) | Ok(Err(_)) => found += 1,
            Ok(Ok(read)) if read == expected => harmless += 1,
            Ok(Ok(_)) => served.push(position),
        }
    }
    std::panic::set_hook(report);
    assert_eq!(served, [0_usize; 0], "positions that were served wrong");
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
