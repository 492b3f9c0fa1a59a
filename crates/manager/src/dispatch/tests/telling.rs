//! The assignments stream: that differences add up to the whole, and reach only those concerned.

use std::collections::BTreeMap;

use futures::FutureExt;
use proptest::prelude::*;
use swarm_api::assignment::Item;
use swarm_api::assignment_change::Action;
use swarm_api::assignments_message::Type;
use swarm_api::{Assignment, UpdateConfig};

use super::*;
use crate::dispatch::affected::Touched;
use crate::dispatch::content::{Part, part_of};
use crate::dispatch::sent::Sent;
use crate::reconcile::tests::property::{Event, NODES, cases, event, happen};
use crate::reconcile::tests::{on_network, publish, updating};

fn key_of(assignment: &Assignment) -> Key {
    match assignment.item.as_ref().unwrap() {
        Item::Secret(s) => Key::Secret(s.id.clone()),
        Item::Config(c) => Key::Config(c.id.clone()),
        Item::Network(n) => Key::Network(n.id.clone()),
        Item::Peer(p) => Key::Peer(p.id.clone()),
        Item::Endpoint(e) => Key::Endpoint(e.service_id.clone(), e.network_id.clone()),
        Item::Task(t) => Key::Task(t.id.clone()),
    }
}

/// What an agent does with messages: it keeps a table, and checks that the chain is unbroken.
#[derive(Default)]
struct Table {
    version: u64,
    items: BTreeMap<Key, Assignment>,
}

impl Table {
    fn take(&mut self, message: AssignmentsMessage) {
        if message.r#type() == Type::Complete {
            self.items.clear();
        } else {
            assert_eq!(message.applies_to, self.version);
        }
        self.version = message.results_in;
        for change in message.changes {
            let action = change.action();
            let assignment = change.assignment.unwrap();
            let key = key_of(&assignment);
            match action {
                Action::Update => self.items.insert(key, assignment),
                Action::Remove => Some(self.items.remove(&key).expect("it was there")),
            };
        }
    }

    /// Without what agents know themselves.
    fn content(items: &BTreeMap<Key, Assignment>) -> BTreeMap<Key, Assignment> {
        let mut items = items.clone();
        for item in items.values_mut() {
            if let Some(Item::Task(task)) = &mut item.item {
                (task.meta, task.status, task.start_after) = (None, None, None);
                task.spec_version = 0;
            }
        }
        items
    }
}

async fn next(
    stream: &mut ReceiverStream<Result<AssignmentsMessage, Status>>,
) -> AssignmentsMessage {
    let message = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
    message.expect("a message comes").unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn everything_comes_first_and_then_only_what_changes() {
    let mut world = World::new(&["a", "b"]);
    world.rest();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    let mut stream = term.assignments(&agent).await;
    let mut table = Table::default();
    let complete = next(&mut stream).await;
    assert_eq!(complete.r#type(), Type::Complete);
    table.take(complete);
    world.network("app", |_| {});
    world.service("web", 2, |s| on_network(s, "app"));
    world.rest();
    let change = next(&mut stream).await;
    assert_eq!((change.r#type(), change.applies_to), (Type::Incremental, 1));
    let last = change.changes.last().unwrap().assignment.clone().unwrap();
    assert!(matches!(key_of(&last), Key::Task(_)), "a task comes after what it needs");
    table.take(change);
    let wanted = assignments_of(&world.store.view(), "a");
    assert_eq!(Table::content(&table.items), Table::content(&wanted));
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_reports_is_not_sent_back_to_it() {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |_| {});
    world.rest();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    let mut stream = term.assignments(&agent).await;
    next(&mut stream).await;
    term.report(&agent, &[("t0001", TaskState::Running)]).await.unwrap();
    seconds(0.5).await;
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_hears_nothing_of_networks_that_it_does_not_have() {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.service("web", 1, |s| on_network(s, "app"));
    world.rest();
    world.node("b");
    world.rest();
    let term = lead(&world.store);
    let (a, b) = (term.open("a").await, term.open("b").await);
    let (mut to_a, mut to_b) = (term.assignments(&a).await, term.assignments(&b).await);
    next(&mut to_a).await;
    next(&mut to_b).await;
    term.report(&a, &[("t0001", TaskState::Running)]).await.unwrap();
    let changes = next(&mut to_a).await.changes;
    assert_eq!(changes.len(), 1, "its own backend is ready now");
    seconds(0.5).await;
    assert!(to_b.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_agent_is_told_less_often_and_ends_up_right() {
    let mut world = World::new(&["a"]);
    world.network("app", |_| {});
    world.rest();
    let term = lead(&world.store);
    let agent = term.open("a").await;
    let mut stream = term.assignments(&agent).await;
    for i in 0..40 {
        world.service(&format!("web{i}"), 1, |s| on_network(s, "app"));
        world.rest();
        seconds(0.01).await;
    }
    let mut table = Table::default();
    let mut messages = 0;
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_millis(100), stream.next()).await
    {
        table.take(message.unwrap());
        messages += 1;
    }
    assert!(messages < 20, "{messages} messages");
    let wanted = assignments_of(&world.store.view(), "a");
    assert_eq!(Table::content(&table.items), Table::content(&wanted));
}

/// Feeds all nodes from the commits, as `feed` and `stream` do.
struct Followers {
    events: Subscription,
    nodes: BTreeMap<&'static str, (Sent, Table)>,
}

impl Followers {
    fn of(world: &World) -> Followers {
        let mut nodes = BTreeMap::new();
        for node in NODES {
            let (mut sent, mut table) = (Sent::default(), Table::default());
            table.take(sent.complete(assignments_of(&world.store.view(), node)));
            nodes.insert(node, (sent, table));
        }
        Followers { events: world.store.subscribe(), nodes }
    }

    fn follow(&mut self, world: &World) {
        let view = world.store.view();
        let mut touched = Touched::default();
        while let Some(commit) = self.events.next().now_or_never() {
            commit.unwrap().changes.iter().for_each(|change| touched.note(&view, change));
        }
        for (node, (sent, table)) in &mut self.nodes {
            let mut part = touched.part_for(&view, node);
            let mut wanted = part_of(&view, node, &part);
            if part.own && !part.all && sent.networks_differ(&wanted) {
                part = Part::all();
                wanted = part_of(&view, node, &part);
            }
            sent.incremental(&part, wanted).into_iter().for_each(|m| table.take(m));
            let all = assignments_of(&view, node);
            assert_eq!(Table::content(&table.items), Table::content(&all), "{node}");
        }
    }
}

fn random_events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..60)
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn differences_add_up_to_the_whole_whatever_happens(events in random_events()) {
        let mut world = World::new(&NODES);
        world.network("app", |_| {});
        world.service("web", 3, |s| {
            on_network(s, "app");
            publish(s, 80, 0);
            updating(s, UpdateConfig { order: 1, parallelism: 1, ..Default::default() });
        });
        let mut followers = Followers::of(&world);
        for event in &events {
            happen(&mut world, event);
            followers.follow(&world);
        }
        world.remove::<swarm_api::Service>("web");
        followers.follow(&world);
        world.wait(100);
        followers.follow(&world);
    }
}
