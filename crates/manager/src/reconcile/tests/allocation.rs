//! Subnets, addresses and ports.

use std::collections::BTreeSet;

use swarm_api::{EndpointMode, IpamConfig};

use super::*;

fn get_network(world: &World, id: &str) -> Network {
    world.store.view().get::<Network>(id).cloned().unwrap()
}

fn subnet(spec: &mut NetworkSpec, subnet: &str) {
    spec.ipam.push(IpamConfig { subnet: subnet.into(), ..Default::default() });
}

/// All addresses that objects refer to, live or remembered, save those of tasks that have ended.
fn addresses(world: &World) -> Vec<(String, String)> {
    let view = world.store.view();
    let vips = view.all::<Service>().flat_map(|s| &s.endpoint).flat_map(|e| &e.virtual_ips);
    let vips = vips.map(|v| (v.network_id.clone(), v.address.clone()));
    let nodes = view.all::<Node>().flat_map(|n| &n.attachments);
    let nodes = nodes.map(|a| (a.network_id.clone(), a.address.clone()));
    let live = view.all::<Task>().filter(|t| !t.is_terminal()).flat_map(|t| &t.networks);
    let tasks = live.map(|a| (a.network_id.clone(), a.address.clone()));
    vips.chain(nodes).chain(tasks).filter(|(_, address)| !address.is_empty()).collect()
}

fn assert_unique(world: &World) {
    let all = addresses(world);
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "{all:?}");
}

#[test]
fn networks_get_ids_and_subnets_the_ingress_first() {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.network("own", |s| subnet(s, "10.0.16.0/24"));
    world.rest();
    let shown = |id| {
        let n = get_network(&world, id);
        (n.subnet, n.gateway)
    };
    assert_eq!(shown("ingress"), ("10.0.0.0/20".into(), "10.0.0.1".into()));
    assert_eq!(shown("own"), ("10.0.16.0/24".into(), "10.0.16.1".into()));
    assert_eq!(shown("app"), ("10.0.32.0/20".into(), "10.0.32.1".into()));
    let vnis = ["ingress", "own", "app"].map(|id| get_network(&world, id).vni);
    assert_eq!(BTreeSet::from(vnis).len(), 3);
    assert!(vnis.iter().all(|vni| (4096..1 << 24).contains(vni)), "{vnis:?}");
}

#[test]
fn the_vxlan_id_of_a_removed_network_is_not_taken_up_at_once() {
    let mut world = World::new(&["a"]);
    let mut seen = BTreeSet::new();
    for n in 0..100 {
        let id = format!("net{n}");
        world.network(&id, |_| {});
        world.rest();
        assert!(seen.insert(get_network(&world, &id).vni), "{id}: {seen:?}");
        world.remove::<Network>(&id);
    }
}

#[test]
fn a_subnet_never_covers_the_address_of_a_node() {
    let mut world = World::new(&["a"]);
    world.edit::<Node>("a", |n| {
        n.description.as_mut().unwrap().data_path_addr = "10.0.3.7".into();
    });
    world.rest();
    assert_eq!(get_network(&world, "ingress").subnet, "10.0.16.0/20");
}

#[test]
fn services_tasks_and_nodes_get_addresses_of_their_own() {
    let mut world = World::new(&["a", "b"]);
    world.network("app", |_| {});
    world.service("web", 3, |s| {
        on_network(s, "app");
        publish(s, 80, 8080);
    });
    world.pass();
    let service = world.get_service("web");
    let vips = service.endpoint.unwrap().virtual_ips;
    let shown: Vec<_> = vips.iter().map(|v| (v.network_id.as_str(), v.address.as_str())).collect();
    assert_eq!(shown, [("app", "10.0.31.254"), ("ingress", "10.0.15.254")]);
    for task in world.tasks("web") {
        let networks: Vec<_> = task.networks.iter().map(|n| n.network_id.as_str()).collect();
        assert_eq!(networks, ["app", "ingress"]);
        assert!(task.networks.iter().all(|n| !n.address.is_empty()));
    }
    assert_eq!(world.get_node("a").attachments.len(), 2);
    assert_unique(&world);
}

#[test]
fn networks_of_the_node_itself_need_no_addresses() {
    for name in ["host", "bridge", "none"] {
        let mut world = World::new(&["a"]);
        world.service("web", 1, |s| on_network(s, name));
        world.live_on();
        assert_eq!(world.running("web"), 1, "{name}");
        assert!(world.tasks("web")[0].networks.is_empty());
    }
}

#[test]
fn what_is_not_used_any_more_is_free_again() {
    let mut world = World::new(&["a", "b"]);
    world.network("app", |_| {});
    world.service("web", 1, |s| on_network(s, "app"));
    world.live_on();
    assert_eq!(addresses(&world).len(), 2 + 1 + 1 + 1);
    world.remove::<Service>("web");
    world.live_on();
    assert_eq!(addresses(&world).len(), 2, "the nodes' own in the ingress network");
}

#[test]
fn a_full_network_says_so_on_the_tasks_that_wait() {
    let mut world = World::new(&["a"]);
    world.network("tiny", |s| subnet(s, "192.168.9.0/29"));
    world.service("web", 5, |s| on_network(s, "tiny"));
    world.rest();
    let waiting: Vec<Task> =
        world.tasks("web").into_iter().filter(|t| t.state() == TaskState::Pending).collect();
    assert_eq!(waiting.len(), 2, "6 addresses: gateway, service, node, and three tasks");
    let message = waiting[0].status.clone().unwrap().message;
    assert_eq!(
        message,
        "no address is free in network tiny (192.168.9.0/29, 6 of 6 in use): grow it with \
         'swarmctl network update --add-subnet CIDR tiny', or remove services or tasks from it"
    );
    assert!(waiting.iter().all(|t| t.node_id.is_empty()));
    assert_unique(&world);
    world.live_on();
    let freed = world.tasks("web").into_iter().find(|t| t.state() == TaskState::Running).unwrap();
    world.report(&freed.id, TaskState::Complete);
    world.live_on();
    assert_eq!(world.live("web").iter().filter(|t| t.state() == TaskState::Pending).count(), 2);
    assert_unique(&world);
}

#[test]
fn a_network_for_which_the_pool_has_no_subnet_says_so_on_the_tasks_that_wait() {
    let mut world = World::new(&["a"]);
    world.edit::<Cluster>("cluster", |c| c.default_addr_pool = vec!["10.9.0.0/20".into()]);
    world.network("app", |_| {});
    world.service("web", 1, |s| on_network(s, "app"));
    world.rest();
    let message = world.tasks("web")[0].status.clone().unwrap().message;
    assert_eq!(
        message,
        "no subnet is free for network app (pool 10.9.0.0/20, /20 each): remove networks that are \
         not used or create it with --subnet"
    );
}

#[test]
fn an_address_is_given_again_only_when_no_other_is_free() {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.service("web", 1, |s| on_network(s, "app"));
    world.live_on();
    let first = world.live("web").remove(0);
    world.report(&first.id, TaskState::Failed);
    world.live_on();
    let second = world.live("web").remove(0);
    assert_ne!(first.networks[0].address, second.networks[0].address);
}

#[test]
fn ports_are_chosen_once_and_kept() {
    let mut world = World::new(&["a"]);
    world.service("one", 1, |s| publish(s, 80, 0));
    world.service("two", 1, |s| publish(s, 80, 30000));
    world.rest();
    let ports = |w: &World, name| w.get_service(name).endpoint.unwrap().ports[0].published;
    assert_eq!((ports(&world, "one"), ports(&world, "two")), (30001, 30000));
    world.remove::<Service>("two");
    world.update("one", |s| publish(s, 443, 0));
    world.rest();
    let shown: Vec<u32> =
        world.get_service("one").endpoint.unwrap().ports.iter().map(|p| p.published).collect();
    assert_eq!(shown, [30001, 30000]);
    assert_eq!(world.get_service("one").endpoint.unwrap().virtual_ips.len(), 1);
}

#[test]
fn a_service_without_virtual_address_has_none() {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.service("web", 1, |s| {
        on_network(s, "app");
        s.endpoint.get_or_insert_default().mode = EndpointMode::Dnsrr.into();
    });
    world.rest();
    assert!(world.get_service("web").endpoint.unwrap().virtual_ips.is_empty());
    assert_eq!(world.tasks("web")[0].networks.len(), 1);
}

#[test]
fn a_network_that_is_no_overlay_has_no_addresses() {
    let mut world = World::new(&["a"]);
    world.network("lan", |s| s.driver = "host".into());
    world.service("web", 1, |s| on_network(s, "lan"));
    world.rest();
    let task = world.tasks("web").remove(0);
    assert_eq!(task.state(), TaskState::Assigned);
    assert_eq!(task.networks[0].address, "");
    assert_eq!(get_network(&world, "lan").vni, 0);
    assert_eq!(world.get_node("a").attachments.len(), 1);
}

#[test]
fn a_published_port_that_another_service_has_is_not_given_twice() {
    let mut world = World::new(&["n1"]);
    world.service("old", 1, |spec| publish(spec, 80, 8080));
    world.live_on();
    // The door refuses this; here it comes in behind it.
    world.service("new", 1, |spec| publish(spec, 80, 8080));
    world.live_on();
    assert_eq!((world.running("old"), world.running("new")), (1, 0));
    let waiting = world.tasks("new").remove(0).status.unwrap().message;
    assert!(waiting.contains("port 8080 is published by service old already"), "{waiting}");
    world.remove::<Service>("old");
    world.live_on();
    assert_eq!(world.running("new"), 1);
}

#[test]
fn a_network_that_grows_gives_its_new_addresses_to_those_who_wait_and_moves_nobody() {
    for grown in [&["192.168.9.0/29", "10.77.0.0/29"][..], &["192.168.9.0/28"]] {
        let mut world = World::new(&["a"]);
        world.network("tiny", |s| subnet(s, "192.168.9.0/29"));
        world.service("web", 5, |s| on_network(s, "tiny"));
        world.live_on();
        assert_eq!(world.running("web"), 3);
        let before = addresses(&world);
        world.edit::<Network>("tiny", |n| {
            let spec = n.spec.as_mut().unwrap();
            spec.ipam.clear();
            grown.iter().for_each(|text| subnet(spec, text));
        });
        world.live_on();
        assert_eq!(world.running("web"), 5, "{grown:?}");
        let after = addresses(&world);
        assert!(before.iter().all(|a| after.contains(a)), "{before:?} {after:?}");
        assert_unique(&world);
        let network = get_network(&world, "tiny");
        assert_eq!(network.gateway, "192.168.9.1");
        let subnets: Vec<String> = network.subnets().iter().map(ToString::to_string).collect();
        assert_eq!(subnets, grown);
    }
}

#[test]
fn ranges_are_kept_to_and_what_is_set_aside_is_given_to_nobody() {
    let mut world = World::new(&["a"]);
    world.network("app", |spec| {
        spec.ipam.push(IpamConfig {
            subnet: "10.7.0.0/24".into(),
            ip_range: "10.7.0.8/29".into(),
            reserved: [("router".to_owned(), "10.7.0.9".to_owned())].into(),
            ..Default::default()
        });
    });
    world.service("web", 9, |s| on_network(s, "app"));
    world.live_on();
    let given: BTreeSet<String> =
        addresses(&world).into_iter().filter(|(id, _)| id == "app").map(|(_, a)| a).collect();
    let range = [8, 10, 11, 12, 13, 14, 15].map(|last| format!("10.7.0.{last}"));
    assert_eq!(given, BTreeSet::from(range));
    let usage = crate::reconcile::usage(&world.store.view(), None);
    let app = usage.networks.iter().find(|n| n.name == "app").unwrap();
    let counts = (app.size, app.services, app.nodes, app.tasks, app.reserved, app.free);
    assert_eq!(counts, (8, 1, 1, 5, 1, 0));
}

#[test]
fn a_network_with_ipv6_has_a_subnet_of_the_clusters_own() {
    let mut world = World::new(&["a"]);
    world.network("one", |s| s.ipv6 = true);
    world.network("two", |s| s.ipv6 = true);
    world.network("own", |s| {
        s.ipv6 = true;
        subnet(s, "fd00:7::/64");
    });
    world.network("four", |_| {});
    world.rest();
    let six = |id| get_network(&world, id).six();
    let (one, two) = (six("one").unwrap(), six("two").unwrap());
    assert!(one != two && one.prefix_len() == 64, "{one} {two}");
    assert_eq!(one.network().segments()[..3], two.network().segments()[..3]);
    assert_eq!(one.network().segments()[0] >> 8, 0xfd);
    let own = get_network(&world, "own");
    assert_eq!((own.subnet6.as_str(), own.gateway6.as_str()), ("fd00:7::/64", "fd00:7::1"));
    assert!(!own.subnet.is_empty(), "the IPv4 one comes from the pool");
    assert_eq!(six("four"), None);
    world.edit::<Cluster>("cluster", |c| c.default_addr_pool = vec!["2001:db8:7::/56".into()]);
    world.network("pooled", |s| s.ipv6 = true);
    world.rest();
    let pooled = get_network(&world, "pooled").six().unwrap();
    assert!(pooled.to_string().starts_with("2001:db8:7:"), "{pooled}");
}

#[test]
fn what_a_change_would_take_is_said_before_it_is_made() {
    let mut world = World::new(&["a", "b", "c"]);
    world.network("app", |s| subnet(s, "10.7.0.0/28"));
    world.service("web", 1, |s| on_network(s, "app"));
    world.live_on();
    let service = world.get_service("web");
    let usage = crate::reconcile::usage(&world.store.view(), Some((&service, 9)));
    let app = usage.networks.iter().find(|n| n.name == "app").unwrap();
    assert_eq!((app.size, app.free), (14, 10));
    assert_eq!((app.more_tasks, app.more_nodes), (8, 2));
    let ingress = usage.networks.iter().find(|n| n.name == "ingress").unwrap();
    assert_eq!(ingress.more_tasks, 0);
    let pool = usage.pools.iter().find(|p| p.pool == "10.0.0.0/8").unwrap();
    assert_eq!((pool.length, pool.subnets, pool.free), (20, 4096, 4096 - 2));
    world.update("web", |s| s.mode = Some(replicas(9)));
    world.live_on();
    let usage = crate::reconcile::usage(&world.store.view(), None);
    let app = usage.networks.iter().find(|n| n.name == "app").unwrap();
    assert_eq!(app.free, 0, "as much as was said");
}

fn replicas(replicas: u64) -> swarm_api::service_spec::Mode {
    swarm_api::service_spec::Mode::Replicated(swarm_api::ReplicatedMode { replicas })
}
