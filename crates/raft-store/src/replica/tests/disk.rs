//! Our log and state machine under the library's own suite, and on damaged files.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::raft::Types;

/// Makes stores for the library's conformance suite.
struct Stores(Backend);

impl StoreBuilder<Types, Log, Machine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), 1);
        config.backend = self.0;
        let outlets = (Publisher::new(), Foresight::default());
        let opened = open_files(config, watch::Sender::new(None), outlets).await.unwrap();
        Ok((dir, opened.log, opened.machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms_to_the_consensus_library() {
    Suite::test_all(Stores(Backend::Redb)).await.unwrap();
}

#[cfg(feature = "sled")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_over_sled_conforms_to_the_consensus_library() {
    Suite::test_all(Stores(Backend::Sled)).await.unwrap();
}

async fn filled(bench: &Bench) {
    let group = bench.group(1).await;
    for n in 0..60 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    let built = async || group[0].consensus().unwrap().metrics().purged.is_some();
    until("a snapshot is made", built).await;
    bench.stop(&group[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_lies_on_disk_in_the_clear() {
    let bench = Bench::with_snapshots_every(50);
    filled(&bench).await;
    let mut files = 0;
    for file in std::fs::read_dir(bench.dir.path().join("m1")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(13).any(|w| w == b"correct horse"));
        files += 1;
    }
    assert_eq!(files, 2, "log and snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_data_key_opens_nothing() {
    let bench = Bench::with_snapshots_every(50);
    filled(&bench).await;
    let mut wrong = config(bench.dir.path(), 1);
    wrong.data_keys = [1; 32].into();
    let link = Arc::new(Link { hub: Arc::clone(&bench.hub), from: 1 });
    let error = Replica::open(wrong, link).await.err().unwrap();
    assert!(error.to_string().contains("does not open with this data key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_byte_is_found_and_the_file_named_or_it_does_no_harm() {
    let bench = Bench::with_snapshots_every(50);
    filled(&bench).await;
    let dir = bench.dir.path().join("m1");
    let (mut found, mut harmless) = (0, 0);
    for name in ["snapshot", "raft.redb"] {
        let path = dir.join(name);
        let sound = std::fs::read(&path).unwrap();
        for position in (0..sound.len()).step_by(sound.len() / 40) {
            let mut damaged = sound.clone();
            damaged[position] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let link = Arc::new(Link { hub: Arc::clone(&bench.hub), from: 1 });
            match Replica::open(config(bench.dir.path(), 1), link).await {
                Err(error) => {
                    assert!(error.to_string().contains(name), "{position}: {error}");
                    found += 1;
                }
                Ok(replica) => {
                    assert_eq!(name, "raft.redb", "a snapshot has no byte that does not matter");
                    until("all there", async || replica.store().view().count::<Secret>() == 60)
                        .await;
                    harmless += 1;
                    replica.shutdown().await;
                }
            }
        }
        std::fs::write(&path, &sound).unwrap();
    }
    assert!(found > 40, "{found} found, {harmless} harmless");
}

/// Bytes of all files of the first replica.
fn used(bench: &Bench) -> u64 {
    let files = std::fs::read_dir(bench.dir.path().join("m1")).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |m| m.len())).sum()
}

async fn overwrite(replica: &Replica, size: usize, times: u8) {
    for n in 0..times {
        let put = |tx: &mut crate::Transaction| {
            let mut object = secret("large");
            object.spec.as_mut().unwrap().data = vec![n; size];
            match tx.view().by_name::<Secret>("large").map(|s| s.meta) {
                Some(meta) => tx.update(Secret { meta, ..object }),
                None => tx.create(object),
            }
        };
        replica.store().transact(1, put).await.unwrap();
    }
}

/// Rounds of updates, and the most that was used after any of them.
async fn endless(bench: &Bench, replica: &Replica, size: usize) -> u64 {
    let mut most = 0;
    for _ in 0..5 {
        overwrite(replica, size, 100).await;
        most = most.max(used(bench));
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_updates_take_no_more_room_than_some_do() {
    let bench = Bench::with_snapshots_every(50);
    let group = bench.group(1).await;
    let some = endless(&bench, &group[0], 4096).await;
    let more = endless(&bench, &group[0], 4096).await;
    println!("2 MB written: {some} bytes used, 4 MB: {more}");
    assert!(more <= some + some / 4, "{some} bytes became {more}");
    // At most 105 entries of 4 KiB, in a database that may be half empty, and the snapshot.
    assert!(more < 3 << 20, "{more} bytes");
    bench.stop(&group[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_bounded_in_bytes_however_few_its_entries() {
    let bench = Bench::with_snapshots_every(10_000);
    let link = Arc::new(Link { hub: Arc::clone(&bench.hub), from: 1 });
    let mut config = config(bench.dir.path(), 1);
    (config.snapshot_bytes, config.keep) = (1 << 20, 500);
    let replica = Replica::open(config, link).await.unwrap();
    replica.bootstrap(1).await.unwrap();
    for _ in 0..8 {
        overwrite(&replica, 100_000, 20).await;
        // 2 MB were written: twice what calls for a snapshot.
        let within = async || replica.0.log.bytes_behind(None) <= 2 << 20;
        until("the log is within its bound", within).await;
    }
    assert!(replica.consensus().unwrap().metrics().purged.is_some());
    let used = used(&bench);
    println!("16 MB written: {used} bytes used");
    assert!(used < 12 << 20, "{used} bytes");
    replica.shutdown().await;
    let again =
        Replica::open(bench_config(&bench), Arc::new(Link { hub: Arc::default(), from: 1 }));
    let again = again.await.unwrap();
    until("all there", async || has(&again, "large")).await;
    again.shutdown().await;
}

fn bench_config(bench: &Bench) -> ReplicaConfig {
    config(bench.dir.path(), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_not_opened_for_another_node() {
    let bench = Bench::new();
    let group = bench.group(1).await;
    bench.stop(&group[0]).await;
    let mut other = config(bench.dir.path(), 1);
    other.node_id = "m2".into();
    let link = Arc::new(Link { hub: Arc::clone(&bench.hub), from: 1 });
    let error = Replica::open(other, link).await.err().unwrap();
    assert!(error.to_string().contains("belongs to node m1, but this is node m2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_cut_short_is_finished_by_the_next() {
    let bench = Bench::new();
    let replica = bench.open(1).await;
    replica.prepare(7).await.unwrap();
    replica.shutdown().await;
    let replica = bench.open(1).await;
    assert!(!replica.is_initialised());
    replica.bootstrap(8).await.unwrap();
    assert!(replica.is_initialised());
    assert_eq!(replica.raft_id(), Some(7));
    write(&replica, "s").await.unwrap();
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_alone_costs_about_one_sync() {
    let bench = Bench::new();
    let group = bench.group(1).await;
    let started = Instant::now();
    for n in 0..200 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    // A bound against gross waste only: a sync takes well below 5 ms even on a busy disk.
    let each = started.elapsed() / 200;
    assert!(each < Duration::from_millis(50), "{each:?} per commit");
    bench.stop(&group[0]).await;
}
