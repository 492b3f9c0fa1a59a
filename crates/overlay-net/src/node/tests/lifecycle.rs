//! Restarts, repairs, deletion.

use super::world::*;
use crate::error::NetError;
use crate::link::{Links, Veth};
use crate::naming;
use crate::netns::NetNs;
use crate::node::NodeNet;
use crate::table::{Attachment, Protocol};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_daemon_adopts_what_runs_without_a_break() {
    let mut world = World::new(1).await;
    world.apply(1, &[], |table| table.services = vec![vip(1, 5, &[10])]).await;
    world
        .apply(9, &[], |table| {
            table.ingress = true;
            table.services = vec![vip(9, 5, &[12])];
        })
        .await;
    world.hosts[0].net.set_ingress(vec![published(Protocol::Tcp, 9090, 80)]).await.unwrap();
    let a = world.container(0, 1, 10, vec![host_port(8080, 80, Protocol::Tcp)]).await;
    let c = world.container(0, 9, 12, vec![]).await;
    serve_tcp(&a, 80, "a").await;
    serve_tcp(&c, 80, "c").await;
    let config = world.hosts[0].config.clone();
    let again = NodeNet::open(config).await.unwrap();
    world.hosts[0].net = again;
    let net = world.hosts[0].net.clone();
    assert_eq!(net.sandboxes().await, ["c10", "c12"]);
    assert_eq!(net.list().await, ["net1", "net9"]);
    // Before any table came, everything still works.
    assert_eq!(ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap(), "a 192.0.2.100");
    assert_eq!(ask_tcp(&world.client, (underlay(0), 9090)).await.unwrap(), "c 192.0.2.100");
    let mut table = world.table(1, 0, &[]);
    table.services = vec![vip(1, 5, &[10])];
    // Only the rules, which nobody vouched for, are set anew.
    assert_eq!(net.apply(table.clone()).await.unwrap().changes, 1);
    assert_eq!(net.apply(table).await.unwrap().changes, 0);
    let same = world.container(0, 1, 10, vec![]).await;
    assert_eq!(ask_tcp(&same, (address(1, 5), 80)).await.unwrap(), "a 10.0.1.200");
    assert_eq!(ask_tcp(&world.client, (underlay(0), 9090)).await.unwrap(), "c 192.0.2.100");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_is_repaired_by_the_next_apply() {
    let world = World::new(2).await;
    let all = [(0, 10), (1, 11)];
    let with_vip = |table: &mut crate::NetworkTable| table.services = vec![vip(1, 5, &[11])];
    world.apply(1, &all, with_vip).await;
    let a = world.container(0, 1, 10, vec![]).await;
    let b = world.container(1, 1, 11, vec![]).await;
    serve_tcp(&b, 80, "b").await;
    serve_tcp(&world.client, 80, "world").await;
    let pin = world.hosts[0].config.run_dir.join("net/network/net1");
    let inner = NetNs::open(&pin).unwrap();
    let links = Links::open(&inner).await.unwrap();
    let port = naming::port("net1", "c10");
    for round in 0..7 {
        match round {
            0 => links.delete_route("10.0.1.11/32".parse().unwrap()).await.unwrap(),
            1 => links.delete("vx4097").await.unwrap(),
            2 => links.delete("up0").await.unwrap(),
            3 => links.delete(&port).await.unwrap(),
            4 => links.delete_route("10.0.1.10/32".parse().unwrap()).await.unwrap(),
            5 => flush_rules(&inner).await,
            _ => {
                flush_rules(&inner).await;
                flush_rules(&world.hosts[0].ns).await;
            }
        }
        let mut table = world.table(1, 0, &all);
        with_vip(&mut table);
        let applied = world.hosts[0].net.apply(table.clone()).await.unwrap();
        assert!(applied.changes > 0 || round >= 5, "round {round}");
        assert_eq!(ask_tcp(&a, (address(1, 5), 80)).await.unwrap(), "b 10.0.1.10", "{round}");
        assert_eq!(ask_tcp(&a, (underlay(99), 80)).await.unwrap(), "world 192.0.2.1", "{round}");
        assert_eq!(world.hosts[0].net.apply(table).await.unwrap().changes, 0, "round {round}");
    }
}

async fn flush_rules(ns: &NetNs) {
    ns.run(|| {
        // Without the tool the rules stay, and the round is only shorter.
        let _ = std::process::Command::new("nft").args(["flush", "ruleset"]).status();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_nothing_and_the_same_id_can_be_made_again_at_once() {
    let world = World::new(1).await;
    let net = &world.hosts[0].net;
    let outside = Links::open(&world.hosts[0].ns).await.unwrap();
    let before = outside.list().await.unwrap().len();
    world.apply(1, &[], |_| {}).await;
    world.apply(2, &[], |_| {}).await;
    let attachments: Vec<_> = [1, 2]
        .into_iter()
        .map(|n| Attachment { network_id: format!("net{n}"), address: address(n, 10).into() })
        .collect();
    for _ in 0..3 {
        let ports = vec![host_port(8080, 80, Protocol::Tcp)];
        let made = net.create_sandbox("c10", attachments.clone(), ports).await.unwrap();
        let ns = NetNs::open(&made.netns).unwrap();
        let inner = Links::open(&ns).await.unwrap();
        assert!(inner.find("eth0").await.unwrap().is_some_and(|link| link.up && link.mtu == 1450));
        assert!(inner.find("eth1").await.unwrap().is_some_and(|link| link.up));
        serve_tcp(&ns, 80, "a").await;
        ask_tcp(&world.client, (underlay(0), 8080)).await.unwrap();
        let used = net.remove("net2").await.unwrap_err();
        assert!(matches!(used, NetError::NetworkInUse { .. }), "{used}");
        net.delete_sandbox("c10").await.unwrap();
        assert!(net.sandboxes().await.is_empty());
    }
    net.remove("net1").await.unwrap();
    net.remove("net2").await.unwrap();
    net.remove("net2").await.unwrap();
    assert_eq!(outside.list().await.unwrap().len(), before);
    assert!(net.list().await.is_empty());
    let left = files(&world.hosts[0].config.run_dir);
    assert!(left.is_empty(), "{left:?}");
    // The VNI is free again for another network.
    let mut table = world.table(1, 0, &[]);
    table.id = "another".to_owned();
    net.apply(table).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_way_is_replaced() {
    let world = World::new(1).await;
    let outside = Links::open(&world.hosts[0].ns).await.unwrap();
    let elsewhere = world.scratch.ns("elsewhere").await;
    let there = Links::open(&elsewhere).await.unwrap();
    let stray = |name| Veth {
        name,
        mac: None,
        controller: None,
        peer: "left",
        peer_mac: None,
        peer_ns: &elsewhere,
        mtu: None,
    };
    let (uplink, port) = (naming::uplink("net1"), naming::port("net1", "c10"));
    outside.add_veth(&stray(&uplink)).await.unwrap();
    let run = &world.hosts[0].config.run_dir;
    std::fs::write(run.join("net/network/net1"), "").unwrap();
    std::fs::write(run.join("net/sandbox/c10"), "").unwrap();
    world.apply(1, &[], |_| {}).await;
    assert_eq!(there.find("left").await.unwrap(), None);
    let inner = NetNs::open(&run.join("net/network/net1")).unwrap();
    let links = Links::open(&inner).await.unwrap();
    links.add_veth(&stray(&port)).await.unwrap();
    let a = world.container(0, 1, 10, vec![]).await;
    assert_eq!(there.find("left").await.unwrap(), None);
    links.add_veth(&stray("c123")).await.unwrap();
    serve_tcp(&world.client, 80, "world").await;
    world.apply(1, &[], |_| {}).await;
    assert_eq!(links.find("c123").await.unwrap(), None);
    assert_eq!(ask_tcp(&a, (underlay(99), 80)).await.unwrap(), "world 192.0.2.1");
    // A daemon that finds a namespace nobody recorded removes it.
    NetNs::create(&run.join("net/sandbox/orphan")).await.unwrap();
    let again = NodeNet::open(world.hosts[0].config.clone()).await.unwrap();
    assert_eq!(again.sandboxes().await, ["c10"]);
    assert!(!run.join("net/sandbox/orphan").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_containers_come_and_go_at_once() {
    let world = World::new(1).await;
    world.apply(1, &[], |_| {}).await;
    let net = &world.hosts[0].net;
    let made = (10..40).map(|last| world.container(0, 1, last, vec![]));
    let all = futures::future::join_all(made).await;
    serve_tcp(&all[0], 80, "first").await;
    for (ns, last) in all.iter().zip(10..40).skip(1) {
        let answer = ask_tcp(ns, (address(1, 10), 80)).await.unwrap();
        assert_eq!(answer, format!("first 10.0.1.{last}"));
    }
    let ids = net.sandboxes().await;
    futures::future::join_all(ids.iter().map(|id| net.delete_sandbox(id))).await;
    net.settle().await;
    let left = files(&world.hosts[0].config.run_dir.join("net/sandbox"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_its_reason() {
    let world = World::new(1).await;
    world.apply(1, &[], |_| {}).await;
    let net = &world.hosts[0].net;
    let attach = |network: &str, address: &str| {
        vec![Attachment { network_id: network.to_owned(), address: address.parse().unwrap() }]
    };
    let _a = world.container(0, 1, 10, vec![]).await;
    for (network, address, reason) in [
        ("net7", "10.0.1.11", "network net7 is not present"),
        ("net1", "10.0.2.11", "not in subnet 10.0.1.0/24"),
        ("net1", "10.0.1.10", "already used by sandbox c10"),
        ("net1", "fd00::1", "IPv6"),
    ] {
        let error = net.create_sandbox("x", attach(network, address), vec![]).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut rival = world.table(1, 0, &[]);
    rival.id = "rival".to_owned();
    let error = net.apply(rival).await.unwrap_err().to_string();
    assert!(error.contains("rival") && error.contains("net1"), "{error}");
    assert_eq!(net.sandboxes().await, ["c10"]);
}
