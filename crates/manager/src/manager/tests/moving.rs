//! Managers whose addresses change, and one whose log is gone.

use std::collections::BTreeSet;

use super::*;

/// Waits until every host knows every other where it is now.
async fn all_know_all(hosts: &[&Host]) {
    let wanted: BTreeSet<String> = hosts.iter().map(|h| h.addr.to_string()).collect();
    for host in hosts {
        until(async || {
            let group = host.manager.0.replica.group().borrow().clone();
            let known: BTreeSet<String> = group.into_iter().map(|m| m.addr).collect();
            if known == wanted { Ok(()) } else { Err(format!("{known:?}, want {wanted:?}")) }
        })
        .await;
    }
}

async fn three() -> [Host; 3] {
    let first = first().await;
    let token = first.manager_token().await;
    let second = join(&first, &token).await;
    let third = join(&first, &token).await;
    until(|| third.add_secret("before")).await;
    [first, second, third]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_moved_is_found_by_all_under_its_new_address() {
    let [first, second, mut third] = three().await;
    third.stop().await;
    third.start_elsewhere().await;
    third.manager.ready(PATIENCE).await.unwrap();
    all_know_all(&[&first, &second, &third]).await;
    until(|| third.add_secret("after")).await;
    // Agents are told, too.
    let told = async || {
        let view = first.manager.store().view();
        let status = view.get::<Node>(&third.node_id()).and_then(|n| n.manager_status.clone());
        let addr = status.map(|s| s.addr).unwrap_or_default();
        if addr == third.addr.to_string() { Ok(()) } else { Err(addr) }
    };
    until(told).await;
    for host in [&first, &second, &third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_that_moved_is_found_too() {
    let [mut first, second, third] = three().await;
    first.stop().await;
    first.start_elsewhere().await;
    first.manager.ready(PATIENCE).await.unwrap();
    all_know_all(&[&first, &second, &third]).await;
    for (host, name) in [(&first, "a"), (&second, "b"), (&third, "c")] {
        until(|| host.add_secret(name)).await;
    }
    for host in [&first, &second, &third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_that_all_moved_say_so_and_find_each_other_when_one_is_named() {
    let mut hosts = three().await;
    for host in &hosts {
        host.stop().await;
    }
    for host in &mut hosts {
        host.start_elsewhere().await;
    }
    let [first, second, third] = &hosts;
    until(async || {
        let said = first.manager.obstacle();
        let helpful = said.contains("finds no other one") && said.contains("swarmctl reach");
        if helpful { Ok(()) } else { Err(said) }
    })
    .await;
    until(async || {
        let said = first.add_secret("x").await.unwrap_err().message().to_owned();
        if said.contains("this manager moved from") { Ok(()) } else { Err(said) }
    })
    .await;

    // The second is named to the first, and the first, which then leads or follows, to the third.
    // What it knows of the others besides may be where they were.
    let told = first.manager.reach(&[second.addr.to_string()]).await;
    assert!(told.iter().any(Told::is_manager));
    let told = third.manager.reach(&[first.addr.to_string()]).await;
    assert!(told.iter().any(Told::is_manager));
    for host in &hosts {
        host.manager.ready(PATIENCE).await.unwrap();
    }
    all_know_all(&[first, second, third]).await;
    until(|| third.add_secret("after")).await;
    for host in &hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_log_is_gone_comes_back_under_a_new_raft_id() {
    let [first, second, mut third] = three().await;
    let former = third.manager.0.replica.raft_id().unwrap();
    third.stop().await;
    std::fs::remove_dir_all(third.dir.path().join(RAFT_FOLDER)).unwrap();
    let (listener, addr) = listen().await;
    let config = config(&third.credentials, &third.dir, addr);
    let mode = Mode::Restart { remotes: vec![first.addr.to_string()] };
    third.manager = Manager::start(config, mode).await.unwrap();
    third.addr = addr;
    third.serving = serve(&third.manager, &third.credentials, listener);
    third.manager.ready(PATIENCE).await.unwrap();
    let now = third.manager.0.replica.raft_id().unwrap();
    assert_ne!(now, former);
    let ids: Vec<u64> =
        first.manager.0.replica.members().iter().map(|m| m.member.raft_id).collect();
    assert!(ids.len() == 3 && ids.contains(&now) && !ids.contains(&former), "{ids:?}");
    until(async || {
        let view = third.manager.store().view();
        view.by_name::<Secret>("before").map(|_| ()).ok_or("its store is empty")
    })
    .await;
    for host in [&first, &second, &third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_or_a_demoted_manager_cannot_say_where_a_manager_is() {
    let host = first().await;
    let cluster_id = host.credentials.identity().cluster_id.clone();
    let manager = |node_id: &str, role| Caller::Node {
        node_id: node_id.into(),
        role,
        cluster_id: cluster_id.clone(),
    };
    let worker = manager(&host.node_id(), NodeRole::Worker);
    for caller in [Caller::Anonymous, Caller::Local, worker] {
        assert!(host.manager.heard(&caller, "evil:1").is_err(), "{caller:?}");
    }
    // One that is no member may speak and is not heard.
    host.manager.heard(&manager("nobody", NodeRole::Manager), "evil:1").unwrap();
    let places = host.manager.0.herald.book.places();
    assert!(places.iter().all(|(_, addr)| addr != "evil:1"), "{places:?}");
    host.stop().await;
}
