//! Sessions: who gets one, what it says, how it ends, and who counts as alive.

use std::sync::OnceLock;

use swarm_api::{Cluster, ManagerStatus, NodeTlsInfo, RemovedNode, RootCa};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_registers_and_learns_what_it_must_know() {
    let world = World::new(&["a", "m"]);
    world.set_state("a", NodeState::NodeUnknown);
    world.edit::<Node>("m", |n| {
        let addr = "10.1.1.1:2377".to_owned();
        n.manager_status = Some(ManagerStatus { addr, ..Default::default() });
    });
    world.edit::<Cluster>("cluster", |c| {
        c.root_ca = Some(RootCa { certificate_pem: "root".into(), ..Default::default() });
        c.data_path_port = 4789;
    });
    let term = lead(&world.store);
    let description = NodeDescription {
        hostname: "host-a".into(),
        data_path_addr: "10.1.1.2".into(),
        ..Default::default()
    };
    let request = from("a", SessionRequest { description: Some(description.clone()) });
    let mut messages = term.dispatcher.session(request).await.unwrap().into_inner();
    let first = messages.next().await.unwrap().unwrap();
    assert_eq!(first.managers.len(), 1);
    assert_eq!(first.managers[0].addr, "10.1.1.1:2377");
    assert_eq!((first.root_ca_pem.as_str(), first.data_path_port), ("root", 4789));
    assert_eq!(first.heartbeat_period.unwrap().seconds, 1);
    let node = world.get_node("a");
    assert_eq!(node.description, Some(description));
    let status = node.status.unwrap();
    assert_eq!((status.state(), status.addr.as_str()), (NodeState::NodeReady, "10.1.1.2"));
    world.edit::<Node>("m", |n| n.manager_status.as_mut().unwrap().addr = "10.1.1.9:2377".into());
    let next = messages.next().await.unwrap().unwrap();
    assert_eq!(next.managers[0].addr, "10.1.1.9:2377");
}

#[tokio::test(start_paused = true)]
async fn strangers_and_removed_nodes_get_no_session() {
    let world = World::new(&["a"]);
    world.edit::<Cluster>("cluster", |c| {
        c.removed_nodes.push(RemovedNode { node_id: "a".into(), ..Default::default() });
    });
    let term = lead(&world.store);
    for request in [
        from("a", SessionRequest::default()),
        from("stranger", SessionRequest::default()),
        Request::new(SessionRequest::default()),
    ] {
        let refused = term.dispatcher.session(request).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_removed_is_told_so_in_the_words_that_agents_heed() {
    let world = World::new(&["a"]);
    let term = lead(&world.store);
    let mut agent = term.open("a").await;
    world.remove::<Node>("a");
    let last = agent.messages.next().await.unwrap().unwrap_err();
    assert_eq!(last.code(), Code::PermissionDenied);
    assert_eq!(last.message(), "node a was removed from the swarm");
    assert!(term.beat(&agent).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn registering_again_writes_nothing_and_ends_the_old_session() {
    let mut world = World::new(&["a"]);
    world.rest();
    let term = lead(&world.store);
    let mut old = term.open("a").await;
    let version = world.store.view().version();
    let new = term.open("a").await;
    assert_eq!(world.store.view().version(), version);
    assert_eq!(term.beat(&old).await.unwrap_err().message(), "session invalid");
    assert!(old.messages.next().await.unwrap().is_err());
    assert!(term.beat(&new).await.is_ok());
    assert_ne!(new.first.session_id, old.first.session_id);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_down_after_four_missed_heartbeats() {
    let world = World::new(&["a"]);
    let term = lead(&world.store);
    let agent = term.open("a").await;
    for _ in 0..10 {
        seconds(1.0).await;
        term.beat(&agent).await.unwrap();
    }
    seconds(3.9).await;
    assert_eq!(state(&world, "a"), NodeState::NodeReady);
    seconds(0.4).await;
    assert_eq!(state(&world, "a"), NodeState::NodeDown);
    assert_eq!(world.get_node("a").status.unwrap().message, "heartbeat failure");
    assert!(term.beat(&agent).await.is_err());
    term.open("a").await;
    assert_eq!(state(&world, "a"), NodeState::NodeReady);
}

#[tokio::test(start_paused = true)]
async fn a_node_has_its_session_before_it_is_written_down_as_ready() {
    let world = World::new(&["a"]);
    world.set_state("a", NodeState::NodeDown);
    let made: Arc<OnceLock<Dispatcher>> = Arc::default();
    let at_writing: Arc<Mutex<Vec<bool>>> = Arc::default();
    let (dispatcher, noted, time) = (Arc::clone(&made), Arc::clone(&at_writing), clock());
    // Each write asks for the time just before.
    let asked = Clock::new(move || {
        let has = dispatcher.get().map(|d| d.shared.sessions.has("a"));
        noted.lock().unwrap().extend(has);
        time.now()
    });
    let term = CancellationToken::new();
    let dispatcher = Dispatcher::by(world.store.clone(), asked, term.clone());
    let _ends = term.drop_guard();
    made.set(dispatcher.clone()).ok().unwrap();
    dispatcher.session(from("a", SessionRequest::default())).await.unwrap();
    assert_eq!(*at_writing.lock().unwrap(), [true]);
    assert_eq!(state(&world, "a"), NodeState::NodeReady);
    dispatcher.session(from("stranger", SessionRequest::default())).await.err().unwrap();
    assert!(!dispatcher.shared.sessions.has("stranger"), "who cannot register has no session");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_makes_a_node_ready_that_was_declared_otherwise() {
    let mut world = World::new(&["a"]);
    world.rest();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    for wrong in [NodeState::NodeDown, NodeState::NodeDisconnected] {
        world.set_state("a", wrong);
        seconds(1.0).await;
        term.beat(&agent).await.unwrap();
        assert_eq!(state(&world, "a"), NodeState::NodeReady);
        let since = world.get_node("a").status.unwrap().since;
        assert!(since.is_some(), "and since when is known");
        let version = world.store.view().version();
        term.beat(&agent).await.unwrap();
        assert_eq!(world.store.view().version(), version, "being ready costs no commit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_gives_everybody_time_to_find_it() {
    let world = World::new(&["a", "b"]);
    let _term = lead(&world.store);
    seconds(8.9).await;
    assert_eq!(state(&world, "a"), NodeState::NodeReady);
    seconds(0.5).await;
    assert_eq!(state(&world, "a"), NodeState::NodeDown);
    world.node("late");
    seconds(8.0).await;
    assert_eq!(state(&world, "late"), NodeState::NodeReady, "its time begins with its arrival");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_no_death_until_heartbeats_are_missed() {
    let world = World::new(&["a"]);
    let term = lead(&world.store);
    let agent = term.open("a").await;
    drop(agent);
    seconds(0.9).await;
    assert_eq!(state(&world, "a"), NodeState::NodeReady);
    seconds(0.2).await;
    assert_eq!(state(&world, "a"), NodeState::NodeDisconnected);
    seconds(3.2).await;
    assert_eq!(state(&world, "a"), NodeState::NodeDown);
}

#[tokio::test(start_paused = true)]
async fn all_streams_end_with_the_term() {
    let world = World::new(&["a"]);
    let term = lead(&world.store);
    let mut agent = term.open("a").await;
    let mut assignments = term.assignments(&agent).await;
    assignments.next().await.unwrap().unwrap();
    drop(term);
    assert!(agent.messages.next().await.unwrap().is_err());
    assert!(assignments.next().await.unwrap().is_err());
    assert!(assignments.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_stuck_does_not_hold_up_the_end_of_the_term() {
    let world = World::new(&["a", "m"]);
    let term = CancellationToken::new();
    let dispatcher = Dispatcher::by(world.store.clone(), clock(), term.clone());
    let running = tokio::spawn(dispatcher.clone().run());
    let led = Term { dispatcher, _ends: term.clone().drop_guard() };
    let agent = led.open("a").await;
    for i in 0..20 {
        world.label("a", "n", &i.to_string());
        seconds(0.01).await;
    }
    assert_eq!(agent.session, agent.first.session_id, "it is there and takes nothing");
    term.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), running).await;
    ended.expect("it ends in time").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn heartbeats_tell_of_certificates_and_clocks_and_write_only_what_is_news() {
    let world = World::new(&["a"]);
    let term = lead(&world.store);
    let request = from("a", SessionRequest::default());
    let mut messages = term.dispatcher.session(request).await.unwrap().into_inner();
    let session_id = messages.next().await.unwrap().unwrap().session_id;
    let beat = async |issuer: &str, ahead: i64| {
        // A session writes once a second.
        tokio::time::advance(Duration::from_millis(1_100)).await;
        let now = term.dispatcher.shared.clock.now_nanos();
        let request = HeartbeatRequest {
            session_id: session_id.clone(),
            sent_at: Some(swarm_api::time::from_nanos(now + ahead * 1_000_000_000)),
            tls: Some(NodeTlsInfo { issuer: issuer.into(), ..NodeTlsInfo::default() }),
        };
        term.dispatcher.heartbeat(from("a", request)).await.unwrap();
        let node = world.get_node("a");
        (node.description.unwrap().tls.unwrap().issuer, node.status.unwrap().clock_skew_ms / 1_000)
    };
    assert_eq!(beat("old", 0).await, ("old".into(), 0));
    let version = world.store.view().version();
    assert_eq!(beat("old", 1).await, ("old".into(), 0));
    assert_eq!(world.store.view().version(), version, "nothing new");
    assert_eq!(beat("new", 0).await, ("new".into(), 0));
    let (_, skew) = beat("new", 7_200).await;
    assert!((7_190..=7_200).contains(&skew), "{skew}");
    assert_eq!(beat("new", 0).await, ("new".into(), 0));
}
