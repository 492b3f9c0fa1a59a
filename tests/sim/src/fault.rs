//! What goes wrong, and when: one fault after the other, drawn by the seed.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::node_id;
use crate::membership;
use crate::world::World;

/// Makes things go wrong until told to stop.
pub async fn run(world: Arc<World>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let changing = Arc::new(tokio::sync::Mutex::new(()));
    while !stop.is_cancelled() {
        let pause = world.millis(200..2500);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        let host = world.draw(|random| random.random_range(0..world.settings.hosts));
        match world.draw(|random| random.random_range(0..100)) {
            0..22 => {
                let world = Arc::clone(&world);
                tasks.spawn(async move { fail(&world, host, stop_after(&world)).await });
            }
            22..26 => crash_all(&world).await,
            26..30 => {
                world.stop(host).await;
                world.start(host).await;
            }
            30..60 => part(&world),
            60..70 => worsen(&world),
            70..82 => {
                world.trace.note("the network heals");
                world.conditions().heal();
            }
            82..86 => hand_over(&world).await,
            _ => {
                let (world, changing) = (Arc::clone(&world), Arc::clone(&changing));
                tasks.spawn(async move {
                    // One change at a time.
                    let Ok(_turn) = changing.try_lock() else { return };
                    change(&world, host).await;
                });
            }
        }
    }
}

fn stop_after(world: &World) -> Duration {
    world.millis(50..6000)
}

async fn fail(world: &Arc<World>, host: usize, down: Duration) {
    world.crash(host);
    tokio::time::sleep(down).await;
    world.start(host).await;
}

async fn crash_all(world: &Arc<World>) {
    let up = world.up();
    up.iter().for_each(|host| world.crash(*host));
    tokio::time::sleep(stop_after(world)).await;
    for host in up {
        world.start(host).await;
    }
}

/// Cuts links: a part of the hosts from the rest, or one from another, one way or both.
fn part(world: &World) {
    let mut hosts: Vec<usize> = (0..world.settings.hosts).collect();
    world.draw(|random| hosts.shuffle(random));
    let words = match world.draw(|random| random.random_range(0..4)) {
        0 => {
            let at = world.draw(|random| random.random_range(1..hosts.len()));
            let (one, other) = hosts.split_at(at);
            world.conditions().part(one, other);
            format!("{} are cut off from {}", names(one), names(other))
        }
        1 => {
            let leader = world.leader().map_or(hosts[0], |(host, _)| host);
            let others: Vec<usize> = hosts.into_iter().filter(|h| *h != leader).collect();
            world.conditions().part(&[leader], &others);
            format!("the leader {} is cut off", node_id(leader))
        }
        2 => {
            let from = world.leader().map_or(hosts[0], |(host, _)| host);
            let mut conditions = world.conditions();
            for to in hosts.iter().filter(|to| **to != from).take(hosts.len() / 2) {
                conditions.cut.insert((from, *to));
            }
            format!("{} does not reach half of the others", node_id(from))
        }
        _ => {
            let mut conditions = world.conditions();
            conditions.cut.insert((hosts[0], hosts[1]));
            conditions.cut.insert((hosts[2], hosts[0]));
            format!("one-way cuts around {}", node_id(hosts[0]))
        }
    };
    world.trace.note(words);
}

fn names(hosts: &[usize]) -> String {
    hosts.iter().map(|host| node_id(*host)).collect::<Vec<_>>().join(", ")
}

fn worsen(world: &World) {
    let (loss, repeat, spike, most) = world.draw(|random| {
        let small = |random: &mut rand::rngs::StdRng| random.random_range(0.0..0.15);
        (small(random), small(random), small(random), random.random_range(4..60))
    });
    world.trace.note(format!(
        "the network gets worse: {loss:.3} lost, {repeat:.3} twice, {spike:.3} late, {most} ms"
    ));
    let mut conditions = world.conditions();
    (conditions.loss, conditions.repeat, conditions.spike) = (loss, repeat, spike);
    conditions.usual = (1, most);
}

async fn hand_over(world: &Arc<World>) {
    let Some((host, life)) = world.leader() else { return };
    world.trace.note(format!("{} hands over", node_id(host)));
    let transfer = life.died.run_until_cancelled(life.replica.transfer_leadership());
    // It may find nobody; then it leads on.
    let _ = tokio::time::timeout(Duration::from_secs(3), transfer).await;
}

async fn change(world: &Arc<World>, host: usize) {
    match world.draw(|random| random.random_range(0..10)) {
        0..5 => membership::admit(world, host).await,
        5..8 if membership::is_whole(world) => membership::expel(world, host).await,
        _ => membership::lose_disk(world, host).await,
    }
}
