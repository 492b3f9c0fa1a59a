//! Random life of a small cluster; what must hold at every moment is checked at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::reconcile::runner::Runner;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Scale(u64),
    Down(usize),
    Up(usize),
    Drain(usize),
    Activate(usize),
    Fail(usize),
    Image(u8),
    Pass,
    Act,
    Wait(i64),
}

pub(crate) const NODES: [&str; 3] = ["a", "b", "c"];

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0u64..6).prop_map(Event::Scale),
        1 => (0usize..3).prop_map(Event::Down),
        1 => (0usize..3).prop_map(Event::Up),
        1 => (0usize..3).prop_map(Event::Drain),
        1 => (0usize..3).prop_map(Event::Activate),
        1 => (0usize..6).prop_map(Event::Fail),
        1 => (0u8..3).prop_map(Event::Image),
        4 => Just(Event::Pass),
        4 => Just(Event::Act),
        3 => (1i64..20).prop_map(Event::Wait),
    ]
}

pub(crate) fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Scale(replicas) => world.update("web", |s| {
            let mode = ReplicatedMode { replicas: *replicas };
            s.mode = Some(service_spec::Mode::Replicated(mode));
        }),
        Event::Down(i) => world.set_state(NODES[*i], NodeState::NodeDown),
        Event::Up(i) => world.set_state(NODES[*i], NodeState::NodeReady),
        Event::Drain(i) => world.set_availability(NODES[*i], NodeAvailability::Drain),
        Event::Activate(i) => world.set_availability(NODES[*i], NodeAvailability::Active),
        Event::Fail(i) => {
            let running = |t: &Task| t.state() == TaskState::Running;
            if let Some(task) = world.tasks("web").into_iter().filter(running).nth(*i) {
                world.report(&task.id, TaskState::Failed);
            }
        }
        Event::Image(version) => world.set_image("web", &format!("app:{version}")),
        Event::Pass => {
            world.pass();
        }
        Event::Act => world.act(),
        Event::Wait(seconds) => world.now += seconds * SECOND,
    }
}

/// Per slot, tasks meant to run now; a slot never has two that were not made for an update that starts first.
fn wanted_per_slot(world: &World) -> BTreeMap<u64, usize> {
    let mut slots = BTreeMap::new();
    for task in world.tasks("web") {
        if task.desired_state() == TaskState::Running && !task.is_terminal() {
            *slots.entry(task.slot).or_default() += 1;
        }
    }
    slots
}

fn check(world: &World, most_per_slot: usize) {
    for (slot, wanted) in wanted_per_slot(world) {
        assert!(wanted <= most_per_slot, "slot {slot} has {wanted} live tasks");
    }
    let mut addresses: Vec<String> = world
        .tasks("web")
        .into_iter()
        .filter(|t| !t.is_terminal())
        .flat_map(|t| t.networks.into_iter().map(|n| n.address))
        .collect();
    let count = addresses.len();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), count, "an address was given twice");
}

/// So many cases; a failing one is not written into the sources.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn whatever_happens_slots_stay_single_and_replicas_are_reached_in_the_end(
        start_first in any::<bool>(), events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(&NODES);
        world.network("app", |_| {});
        world.service("web", 3, |s| {
            on_network(s, "app");
            let order = i32::from(start_first);
            let config = UpdateConfig { order, parallelism: 1, ..Default::default() };
            updating(s, UpdateConfig { failure_action: 1, ..config });
        });
        let most = if start_first { 2 } else { 1 };
        for event in &events {
            happen(&mut world, event);
            check(&world, most);
        }
        NODES.iter().for_each(|n| {
            world.set_state(n, NodeState::NodeReady);
            world.set_availability(n, NodeAvailability::Active);
        });
        world.wait(1000);
        let spec = world.get_service("web").spec.unwrap();
        let Some(service_spec::Mode::Replicated(mode)) = spec.mode else { unreachable!() };
        prop_assert_eq!(world.running("web") as u64, mode.replicas);
        prop_assert!(wanted_per_slot(&world).values().all(|n| *n == 1));
        prop_assert!(world.pass().is_empty());
    }
    #[test]
    fn looking_only_at_what_changed_overlooks_nothing(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(&NODES);
        world.network("app", |_| {});
        world.service("web", 3, |s| on_network(s, "app"));
        world.service("agent", 0, as_global);
        world.service("big", 3, |s| {
            on_network(s, "app");
            template(s).placement.get_or_insert_default().max_replicas = 1;
        });
        let now = Arc::new(AtomicI64::new(world.now));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || {
            let now = read.load(Ordering::Relaxed).unsigned_abs();
            SystemTime::UNIX_EPOCH + Duration::from_nanos(now)
        });
        let mut commits = world.store.subscribe();
        let mut runner = Runner::new(world.store.clone(), clock);
        for event in events.iter().filter(|e| !matches!(e, Event::Pass)) {
            happen(&mut world, event);
            now.store(world.now, Ordering::Relaxed);
            let mut passes = 0;
            while runner.gather(&mut commits) {
                block_on(runner.step()).unwrap();
                passes += 1;
                prop_assert!(passes < 20, "it does not come to rest");
            }
            let left = pass(&world.store.view(), world.now, &mut swarm_api::id::random_id);
            prop_assert!(left.is_empty(), "after {:?}: {:#?}", event, left);
        }
    }
}
