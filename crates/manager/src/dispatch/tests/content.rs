//! What nodes are told, as a function of the view.

use swarm_api::assignment::Item;
use swarm_api::{
    Assignment, Config, ConfigReference, EndpointAssignment, Secret, SecretReference, SecretSpec,
    ServiceSpec,
};

use super::*;
use crate::reconcile::tests::{on_network, publish, template};

fn secret(world: &World, id: &str) {
    let spec = Some(SecretSpec { data: id.as_bytes().to_vec(), ..Default::default() });
    world.create(Secret { id: id.into(), spec, ..Default::default() });
}

fn using(spec: &mut ServiceSpec, secret: &str) {
    let container = template(spec).container.as_mut().unwrap();
    container.secrets.push(SecretReference { secret_id: secret.into(), ..Default::default() });
    container.configs.push(ConfigReference { config_id: "conf".into(), ..Default::default() });
}

fn endpoint(world: &World, node: &str, key: (&str, &str)) -> Option<EndpointAssignment> {
    let key = Key::Endpoint(key.0.into(), key.1.into());
    match assignments_of(&world.store.view(), node).remove(&key)?.item? {
        Item::Endpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

fn keys(world: &World, node: &str) -> Vec<Key> {
    assignments_of(&world.store.view(), node).into_keys().collect()
}

/// `web` on `a` in network `app` with a secret and a published port; nothing on `b`.
fn world() -> World {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.network("other", |_| {});
    secret(&world, "mine");
    secret(&world, "foreign");
    world.create(Config { id: "conf".into(), ..Default::default() });
    world.service("web", 1, |s| {
        on_network(s, "app");
        template(s).networks[0].aliases = vec!["www".into()];
        publish(s, 80, 8080);
        using(s, "mine");
    });
    world.live_on();
    world.node("b");
    world.rest();
    world
}

#[test]
fn a_node_gets_its_tasks_and_all_they_need_and_nothing_else() {
    let world = world();
    let own = |id: &str| id.to_owned();
    assert_eq!(
        keys(&world, "a"),
        [
            Key::Secret(own("mine")),
            Key::Config(own("conf")),
            Key::Network(own("app")),
            Key::Network(own("ingress")),
            Key::Peer(own("b")),
            Key::Endpoint(own("web"), own("app")),
            Key::Endpoint(own("web"), own("ingress")),
            Key::Task(own("t0001")),
        ]
    );
    assert_eq!(
        keys(&world, "b"),
        [
            Key::Network(own("ingress")),
            Key::Peer(own("a")),
            Key::Endpoint(own("web"), own("ingress")),
        ]
    );
}

#[test]
fn an_endpoint_names_addresses_and_balances_the_tasks_that_are_ready() {
    let world = world();
    let app = endpoint(&world, "a", ("web", "app")).unwrap();
    assert_eq!((app.id.as_str(), app.service_name.as_str()), ("web/app", "web"));
    assert_eq!(app.virtual_ip, "10.0.31.254");
    assert_eq!(app.aliases, ["www"]);
    assert!(app.ports.is_empty(), "ports belong to the ingress network");
    let backend = &app.backends[0];
    assert_eq!(backend.task_name, "web.1.t0001");
    assert!(backend.ready && !backend.address.is_empty() && backend.node_id == "a");
    let ingress = endpoint(&world, "b", ("web", "ingress")).unwrap();
    assert_eq!(ingress.ports[0].published, 8080);
}

#[test]
fn a_task_leaves_the_balance_before_it_is_stopped_and_with_its_node() {
    let world = world();
    let ready = |w: &World| endpoint(w, "b", ("web", "ingress")).unwrap().backends[0].ready;
    assert!(ready(&world));
    world.set_state("a", NodeState::NodeDown);
    assert!(!ready(&world));
    world.set_state("a", NodeState::NodeReady);
    world.edit::<Task>("t0001", |t| t.set_desired_state(TaskState::Shutdown));
    assert!(!ready(&world), "still routable, for what is under way");
    world.report("t0001", TaskState::Shutdown);
    assert!(endpoint(&world, "b", ("web", "ingress")).unwrap().backends.is_empty());
}

#[test]
fn an_ended_task_keeps_its_place_but_not_its_secrets() {
    let world = world();
    world.report("t0001", TaskState::Complete);
    let keys = keys(&world, "a");
    assert!(keys.contains(&Key::Task("t0001".into())));
    assert!(!keys.iter().any(|k| matches!(k, Key::Secret(_) | Key::Config(_))));
}

#[test]
fn a_peer_is_known_by_its_addresses_in_shared_networks() {
    let world = world();
    let all = assignments_of(&world.store.view(), "b");
    let Some(Assignment { item: Some(Item::Peer(peer)) }) = all.get(&Key::Peer("a".into())) else {
        panic!("no peer");
    };
    assert!(peer.ready);
    let networks: Vec<&str> = peer.attachments.iter().map(|a| a.network_id.as_str()).collect();
    assert_eq!(networks, ["ingress"]);
}
