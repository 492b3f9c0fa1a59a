//! Three replicas in one process: leaders go, members come, lagging ones catch up.

use super::*;
use crate::Lagged;

/// Compiles only if every call may move between threads.
fn _calls_may_move_between_threads(replica: &Replica) {
    fn check<T: Send>(_: T) {}
    check(replica.bootstrap(1));
    check(replica.prepare(1));
    check(replica.add_member(member(1)));
    check(replica.remove_member("m1"));
    check(replica.transfer_leadership());
    check(replica.read_barrier());
    check(replica.shutdown());
    check(write(replica, "s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_leader_acknowledged_is_on_all_and_survives_it() {
    let bench = Bench::unhurried();
    let group = bench.group(3).await;
    for n in 0..50 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    until("replicated", async || group.iter().all(|r| has(r, "s49"))).await;
    let refusal = write(&group[1], "x").await.unwrap_err();
    assert_eq!(refusal, StoreError::NotLeader { leader: Some(member(1)) });

    bench.stop(&group[0]).await;
    let killed = Instant::now();
    let next = leader(&group[1..]).await;
    write(&next, "after").await.unwrap();
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    assert!((0..50).all(|n| has(&next, &format!("s{n}"))));

    let back = bench.open(1).await;
    until("the old leader follows", async || has(&back, "after")).await;
    let versions = |r: &Replica| {
        let view = r.store().view();
        view.all::<Secret>().map(|s| (s.id.clone(), s.meta)).collect::<Vec<_>>()
    };
    assert_eq!(versions(&back), versions(&next));
    for replica in [&back, &group[1], &group[2]] {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stopped_and_started_again_know_everything() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    for n in 0..20 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    for replica in &group {
        bench.stop(replica).await;
    }
    let mut again = Vec::new();
    for id in 1..=3 {
        again.push(bench.open(id).await);
    }
    let leader = leader(&again).await;
    leader.read_barrier().await.unwrap();
    assert_eq!(leader.store().view().count::<Secret>(), 20);
    write(&leader, "more").await.unwrap();
    for replica in &again {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_catches_up_by_snapshot() {
    let bench = Bench::with_snapshots_every(50);
    let group = bench.group(1).await;
    for n in 0..200 {
        write(&group[0], &format!("s{n}")).await.unwrap();
    }
    let purged = async || group[0].consensus().unwrap().metrics().purged.is_some();
    until("the log is purged", purged).await;
    let joiner = bench.open(2).await;
    let mut feed = joiner.store().subscribe();
    joiner.prepare(2).await.unwrap();
    group[0].add_member(member(2)).await.unwrap();
    until("it has all", async || joiner.store().view().count::<Secret>() == 200).await;
    assert_eq!(feed.next().await.unwrap_err(), Lagged);
    assert!(feed.resync().count::<Secret>() > 0);
    assert!(joiner.members().iter().all(|m| m.voter));

    bench.stop(&joiner).await;
    let joiner = bench.open(2).await;
    until("restored", async || joiner.store().view().count::<Secret>() == 200).await;
    bench.stop(&joiner).await;
    bench.stop(&group[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_voters_that_was_given_up_half_way_is_finished() {
    let bench = Bench::new();
    let group = bench.group(1).await;
    let joiner = bench.open(2).await;
    joiner.prepare(2).await.unwrap();
    let consensus = group[0].consensus().unwrap();
    let place = BTreeMap::from([(2, (&member(2)).into())]);
    consensus.change(openraft::ChangeMembers::AddNodes(place), true).await.unwrap();
    bench.cut(2);
    let vote = openraft::ChangeMembers::AddVoterIds([2].into());
    let given_up = consensus.change(vote, true);
    tokio::time::timeout(Duration::from_millis(200), given_up).await.unwrap_err();
    assert!(consensus.leads_joint(), "half-way");
    let silent = async || group[0].members().iter().any(|m| !m.reachable);
    until("its silence is noticed", silent).await;
    let refusal = consensus.no_quorum().to_string();
    assert!(refusal.contains("1 of 2 managers answer and 2 are needed"), "{refusal}");
    assert!(refusal.ends_with("no answer from: m2"), "{refusal}");
    bench.heal(2);
    until("it ends", async || !consensus.leads_joint()).await;
    assert!(group[0].members().iter().all(|m| m.voter));
    write(&group[0], "after").await.unwrap();
    until("replicated", async || has(&joiner, "after")).await;
    bench.stop(&joiner).await;
    bench.stop(&group[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_lose_the_quorum_is_refused_until_the_dead_one_is_gone() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    bench.stop(&group[2]).await;
    let silent = async || group[0].members().iter().any(|m| !m.reachable);
    until("its silence is noticed", silent).await;
    let refusal = group[0].remove_member("m2").await.unwrap_err();
    assert!(
        refusal.to_string().contains("after this 2 managers, quorum 2, reachable 1"),
        "{refusal}"
    );
    group[0].remove_member("m3").await.unwrap();
    group[0].remove_member("m2").await.unwrap();
    let refusal = group[0].remove_member("m1").await.unwrap_err();
    assert!(refusal.to_string().contains("the last one"), "{refusal}");
    let unknown = group[0].remove_member("m9").await.unwrap_err();
    assert_eq!(unknown.to_string(), "manager m9 not found");
    assert_eq!(group[0].members().len(), 1);
    write(&group[0], "alone").await.unwrap();
    for replica in &group[..2] {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_to_go_hands_over_first() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    let answer = group[0].remove_member("m1").await.unwrap_err();
    let StoreError::NotLeader { leader: Some(heir) } = answer else { panic!("{answer}") };
    let heir = group.iter().find(|r| r.raft_id() == Some(heir.raft_id)).unwrap();
    until("it leads", async || heir.leadership().borrow().is_leader).await;
    heir.remove_member("m1").await.unwrap();
    assert_eq!(heir.members().len(), 2);
    write(heir, "after").await.unwrap();
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_refuses_and_stands_back() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    bench.cut(1);
    let next = leader(&group[1..]).await;
    write(&next, "other side").await.unwrap();
    until("it stands back", async || !group[0].leadership().borrow().is_leader).await;
    let error = write(&group[0], "lost").await.unwrap_err();
    assert!(matches!(error, StoreError::NoQuorum { .. } | StoreError::Timeout { .. }), "{error}");
    assert!(group[0].read_barrier().await.is_err());
    bench.heal(1);
    until("it follows", async || has(&group[0], "other side")).await;
    assert!(!has(&group[0], "lost"));
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_applied_once_also_by_the_next_leader() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    let decide = |tx: &mut crate::Transaction| tx.create(secret("once"));
    group[0].store().transact_once(1, "r1", decide).await.unwrap();
    bench.stop(&group[0]).await;
    let next = leader(&group[1..]).await;
    let again = next.store().transact_once(1, "r1", decide).await.unwrap_err();
    assert!(matches!(again, StoreError::Duplicate { .. }), "{again}");
    for replica in &group[1..] {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_side_by_side_never_clash() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    let mut writers = tokio::task::JoinSet::new();
    for w in 0..8 {
        let store = group[0].store();
        writers.spawn(async move {
            for n in 0..10 {
                // Each takes the next number of a shared counter: the count of what is there.
                let next = store.transact(1, |tx| {
                    let count = tx.view().count::<Secret>();
                    tx.create(secret(&format!("n{count}"))).map(|()| count)
                });
                next.await.unwrap_or_else(|e| panic!("writer {w}, write {n}: {e}"));
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    assert!((0..80).all(|n| has(&group[0], &format!("n{n}"))));
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_lost_its_log_comes_back_under_a_new_id() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    bench.stop(&group[2]).await;
    std::fs::remove_dir_all(bench.dir.path().join("m3")).unwrap();
    let silent = async || group[0].members().iter().any(|m| !m.reachable);
    until("its silence is noticed", silent).await;
    let fresh = Replica::open(
        config(bench.dir.path(), 3),
        Arc::new(Link { hub: Arc::clone(&bench.hub), from: 33 }),
    );
    let fresh = fresh.await.unwrap();
    bench.hub.replicas.lock().unwrap().insert(33, fresh.clone());
    fresh.prepare(33).await.unwrap();
    group[0].add_member(Member { raft_id: 33, ..member(3) }).await.unwrap();
    let ids: Vec<u64> = group[0].members().iter().map(|m| m.member.raft_id).collect();
    assert_eq!(ids, [1, 2, 33]);
    for replica in [&group[0], &group[1], &fresh] {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leader_stays_leader() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    until("it leads", async || group[0].leadership().borrow().is_leader).await;
    let mut leadership = group[0].leadership();
    leadership.borrow_and_update();
    // Twice the time after which it would no longer count as leading.
    let changed = tokio::time::timeout(Duration::from_millis(2400), leadership.changed()).await;
    assert!(changed.is_err(), "{:?}", leadership.borrow());
    assert!(group[0].members().iter().all(|m| m.reachable && m.voter));
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_that_read_the_same_version_one_wins_and_the_others_are_told_both_versions() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    write(&group[0], "shared").await.unwrap();
    let read = group[0].store().view().by_name::<Secret>("shared").unwrap().clone();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, read) = (group[0].store(), read.clone());
        writers.spawn(async move { store.transact(1, |tx| tx.update(read.clone())).await });
    }
    let mut won = 0;
    while let Some(done) = writers.join_next().await {
        match done.unwrap() {
            Ok(()) => won += 1,
            Err(StoreError::OutOfSequence { have, want, .. }) => assert!(have < want),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_and_the_same_name_twice_at_once_are_carried_out_once() {
    let bench = Bench::new();
    let group = bench.group(1).await;
    for round in 0..20 {
        let (name, request) = (format!("n{round}"), format!("r{round}"));
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..6 {
            let (store, name, request) = (group[0].store(), name.clone(), request.clone());
            calls.spawn(async move {
                let request = if n < 3 { request } else { format!("{request}-{n}") };
                let create = |tx: &mut crate::Transaction| tx.create(secret(&name));
                store.transact_once(1, &request, create).await
            });
        }
        let results = calls.join_all().await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        let told = |r: &Result<(), StoreError>| {
            use StoreError::{AlreadyExists, Duplicate};
            matches!(r, Ok(()) | Err(AlreadyExists { .. } | Duplicate { .. }))
        };
        assert!(results.iter().all(told), "{results:?}");
    }
    bench.stop(&group[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_shared_a_command_are_the_same_on_every_replica_and_in_order_for_watchers() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    let mut feed = group[1].store().subscribe();
    let mut writers = tokio::task::JoinSet::new();
    for w in 0..32 {
        let store = group[0].store();
        writers.spawn(async move {
            for n in 0..10 {
                let name = format!("{w}-{n}");
                store.transact(n, |tx| tx.create(secret(&name))).await.unwrap();
                let change = |tx: &mut crate::Transaction| {
                    let mut own = tx.view().by_name::<Secret>(&name).unwrap().clone();
                    own.spec.as_mut().unwrap().data = name.clone().into_bytes();
                    tx.update(own)
                };
                store.transact(n, change).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let (first, seen) = (group[0].store().view(), Instant::now());
    assert!(first.version() < 500, "640 writes in {} commands", first.version());
    let all = |r: &Replica| r.store().view().all::<Secret>().cloned().collect::<Vec<_>>();
    for replica in &group[1..] {
        until("the follower has all", async || all(replica) == all(&group[0])).await;
    }
    let mut version = 0;
    while version < first.all::<Secret>().map(swarm_api::object::Stored::version).max().unwrap() {
        let commit = feed.next().await.unwrap();
        assert!(commit.version > version && seen.elapsed() < Duration::from_secs(10));
        version = commit.version;
    }
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_speaks_only_for_itself_and_not_after_it_was_taken_out() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    until("all know all", async || group[1].group().borrow().len() == 3).await;
    // What the replica 3 would ask of the replica 2, were it to call an election.
    let vote = crate::raft::wire::Ballot { term: 1, node: 3, committed: false };
    let call = crate::raft::wire::VoteCall {
        target: 2,
        vote: Some(vote),
        last: None,
        transfer: false,
        pre: true,
    };
    let body = prost::Message::encode_to_vec(&call);
    group[1].handle_from("m3", RaftRpc::Vote, &body).await.unwrap();
    let forged = group[1].handle_from("m1", RaftRpc::Vote, &body).await.unwrap_err();
    assert_eq!(forged.to_string(), "node m1 spoke in the name of manager m3");

    group[0].remove_member("m3").await.unwrap();
    until("the follower was told", async || group[1].group().borrow().len() == 2).await;
    let late = group[1].handle_from("m3", RaftRpc::Vote, &body).await.unwrap_err();
    assert_eq!(late.to_string(), "node m3 was taken out of the managers");
    for replica in &group {
        bench.stop(replica).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moved_gets_its_new_address_and_keeps_its_vote() {
    let bench = Bench::new();
    let group = bench.group(3).await;
    let moved = Member { addr: "elsewhere:2377".to_owned(), ..member(2) };
    group[0].add_member(moved.clone()).await.unwrap();
    for replica in &group {
        until("all know the address", async || replica.group().borrow().contains(&moved)).await;
    }
    assert!(group[0].members().iter().all(|m| m.voter));
    write(&group[0], "after").await.unwrap();
    until("the moved one follows", async || has(&group[1], "after")).await;
    for replica in &group {
        bench.stop(replica).await;
    }
}
