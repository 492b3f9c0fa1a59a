//! A group whose majority is gone for good: what is left, and the group founded on it.

use super::*;
use crate::{Remains, amend, found};

async fn reopened(dir: &Path, node: &str) -> Replica {
    let mut config = config(dir, 1);
    config.dir = dir.to_owned();
    config.node_id = node.into();
    let link = Arc::new(Link { hub: Arc::default(), from: 1 });
    Replica::open(config, link).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_manager_of_three_founds_a_group_that_holds_everything() {
    // Some of it in a snapshot, some in the log behind it.
    let bench = Bench::with_snapshots_every(20);
    let group = bench.group(3).await;
    for n in 0..50 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    let version = group[0].store().view().version();
    until("m3 has it all", async || group[2].store().view().version() >= version).await;
    for replica in &group {
        bench.stop(replica).await;
    }
    let remains = Remains::read(&bench.dir.path().join("m3"), &KEY.into()).unwrap();
    assert_eq!((remains.node_id.as_str(), remains.view.count::<Secret>()), ("m3", 50));
    assert_eq!(remains.members.len(), 3);
    assert!(remains.view.version() >= version && remains.committed <= remains.view.version());
    assert!(remains.last_term >= 1 && remains.term >= remains.last_term);

    let more = amend(&remains.view, 1, |tx| tx.create(secret("found"))).map_err(|e: StoreError| e);
    let more = more.unwrap();
    let dir = bench.dir.path().join("new");
    let alone = Member { raft_id: 77, node_id: "m3".into(), addr: "m3:2377".into() };
    found(&dir, &KEY.into(), &alone, remains.term + 1, &more).unwrap();
    let error = found(&dir, &KEY.into(), &alone, remains.term + 1, &more).unwrap_err().to_string();
    assert!(error.contains("holds a manager's log already"), "{error}");
    // And again, for a restart must not need anything that only the first start had.
    for name in ["first", "second"] {
        let replica = reopened(&dir, "m3").await;
        let leads = async || replica.leadership().borrow().is_leader;
        until("it leads alone", leads).await;
        assert!(has(&replica, "s49") && has(&replica, "found"));
        assert!(replica.leadership().borrow().term > remains.term);
        assert_eq!(replica.members().len(), 1);
        write(&replica, name).await.unwrap();
        replica.shutdown().await;
    }
    // What was there before was only read.
    let again = Remains::read(&bench.dir.path().join("m3"), &KEY.into()).unwrap();
    assert_eq!(again.view.version(), remains.view.version());
}

#[tokio::test]
async fn a_folder_without_a_log_and_a_wrong_key_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let error = Remains::read(dir.path(), &KEY.into()).unwrap_err().to_string();
    assert!(error.contains("holds no manager's log"), "{error}");
    let alone = Member { raft_id: 7, node_id: "m1".into(), addr: "m1:2377".into() };
    found(dir.path(), &KEY.into(), &alone, 5, &crate::View::default()).unwrap();
    let error = Remains::read(dir.path(), &[1; 32].into()).unwrap_err().to_string();
    assert!(error.contains("does not open with this data key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_says_what_it_covers() {
    let bench = Bench::new();
    let group = bench.group(1).await;
    write(&group[0], "s").await.unwrap();
    let view = group[0].store().view();
    let cover = group[0].cover(&view, 5);
    assert_eq!((cover.index, cover.saved_at_ns), (view.version(), 5));
    assert_eq!(cover.members, [member(1)]);
    assert!(cover.term >= 1);
    bench.stop(&group[0]).await;
}
