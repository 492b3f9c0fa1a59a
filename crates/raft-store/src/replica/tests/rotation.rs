//! The data key changes while the store is in use, and when that is cut short.

use super::*;

const NEXT: [u8; 32] = [10; 32];

async fn open_with(bench: &Bench, keys: DataKeys) -> Result<Replica, StoreError> {
    let link = Arc::new(Link { hub: Arc::clone(&bench.hub), from: 1 });
    let mut config = config(bench.dir.path(), 1);
    (config.data_keys, config.snapshot_every, config.keep) = (keys, 50, 5);
    Replica::open(config, link).await
}

async fn filled() -> (Bench, Replica) {
    let bench = Bench::with_snapshots_every(50);
    let replica = bench.group(1).await.remove(0);
    for n in 0..70 {
        write(&replica, &format!("s{n}")).await.unwrap();
    }
    let built = async || replica.consensus().unwrap().metrics().purged.is_some();
    until("a snapshot is made", built).await;
    (bench, replica)
}

/// Only the new key opens what `replica` left, and all is there.
async fn check(bench: &Bench, count: usize) {
    let refused = open_with(bench, KEY.into()).await.err().unwrap().to_string();
    assert!(refused.contains("does not open with this data key"), "{refused}");
    let replica = open_with(bench, NEXT.into()).await.unwrap();
    until("all there", async || replica.store().view().count::<Secret>() == count).await;
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation_nothing_on_disk_needs_the_old_data_key() {
    let (bench, replica) = filled().await;
    let store = replica.store();
    let writer = tokio::spawn(async move {
        for n in 70..140 {
            let create = |tx: &mut crate::Transaction| tx.create(secret(&format!("s{n}")));
            store.transact(1, create).await.unwrap();
        }
    });
    replica.rotate_data_key(&NEXT).await.unwrap();
    writer.await.unwrap();
    assert_eq!(replica.fatal().borrow().clone(), None);
    bench.stop(&replica).await;
    check(&bench, 140).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_cut_short_is_finished_with_both_keys() {
    let (bench, replica) = filled().await;
    replica.0.sealer.rotate(&NEXT).unwrap();
    write(&replica, "under the new key").await.unwrap();
    bench.stop(&replica).await;
    for key in [KEY, NEXT] {
        let refused = open_with(&bench, key.into()).await.err().unwrap().to_string();
        assert!(refused.contains("does not open with this data key"), "{refused}");
    }
    let replica = open_with(&bench, DataKeys::from(KEY).rotated(NEXT)).await.unwrap();
    replica.reseal().await.unwrap();
    replica.shutdown().await;
    check(&bench, 71).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_no_group_yet_is_sealed_anew_too() {
    let bench = Bench::new();
    let replica = bench.open(1).await;
    replica.prepare(7).await.unwrap();
    replica.rotate_data_key(&NEXT).await.unwrap();
    replica.shutdown().await;
    let replica = open_with(&bench, NEXT.into()).await.unwrap();
    assert_eq!(replica.raft_id(), Some(7));
    replica.shutdown().await;
}
