//! Changes of the group: managers are let in and removed, and some come back with an empty disk.

use std::sync::Arc;

use rand::RngExt;
use swarm_raft_store::MemberState;

use crate::host::{node_id, of_node};
use crate::world::World;

/// Starts the group on the first `size` hosts; the rest run, but are in no group.
pub async fn found(world: &Arc<World>, size: usize) -> Result<(), String> {
    for host in 0..world.settings.hosts {
        world.start(host).await;
    }
    let first = world.life(0).ok_or("the first manager does not run")?;
    first.replica.bootstrap(id(world)).await.map_err(|e| e.to_string())?;
    for host in 1..size {
        let life = world.life(host).ok_or("a manager does not run")?;
        life.replica.prepare(id(world)).await.map_err(|e| e.to_string())?;
        let member = world.member(host, &life.replica).ok_or("it has no raft id")?;
        let mut tries = 0;
        // A disk that hangs for longer than the leader's lease makes it refuse; whoever wants in
        // asks again.
        while let Err(error) = first.replica.add_member(member.clone()).await {
            tries += 1;
            if tries == TRIES {
                return Err(format!("{} is not let in: {error}", node_id(host)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// How often a host asks to be let in while nothing goes wrong but slow disks, and its pause.
const TRIES: usize = 10;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

fn id(world: &World) -> u64 {
    world.draw(|random| random.random_range(1..=u64::MAX))
}

/// The members, as the leader knows them.
pub fn members(world: &World) -> Vec<MemberState> {
    world.leader().map(|(_, life)| life.replica.members()).unwrap_or_default()
}

fn is_member(world: &World, host: usize) -> bool {
    let raft_id = world.life(host).and_then(|life| life.replica.raft_id());
    let known = |m: &MemberState| m.voter && Some(m.member.raft_id) == raft_id;
    members(world).iter().any(known)
}

/// Lets a host in: as a new member, or under its new Raft id.
pub async fn admit(world: &Arc<World>, host: usize) {
    let Some(life) = world.life(host) else { return };
    if is_member(world, host) {
        return;
    }
    if life.replica.raft_id().is_none() {
        let prepared = life.replica.prepare(id(world));
        if !matches!(life.died.run_until_cancelled(prepared).await, Some(Ok(()))) {
            return;
        }
    }
    let Some(member) = world.member(host, &life.replica) else { return };
    let Some((leader, boss)) = world.leader() else { return };
    world.trace.note(format!("{} lets {} in", node_id(leader), node_id(host)));
    let let_in = boss.died.run_until_cancelled(boss.replica.add_member(member)).await;
    let words = match let_in {
        Some(Ok(())) => "is in".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "the leader died".to_owned(),
    };
    world.trace.note(format!("{}: {words}", node_id(host)));
}

/// Removes a member; its disk is then taken, as that of a node that left.
pub async fn expel(world: &Arc<World>, host: usize) {
    let Some((leader, boss)) = world.leader() else { return };
    if leader == host || members(world).iter().filter(|m| m.voter).count() < 3 {
        return;
    }
    let name = node_id(host);
    world.trace.note(format!("{} removes {name}", node_id(leader)));
    let removal = boss.replica.remove_member(&name);
    let words = match boss.died.run_until_cancelled(removal).await {
        Some(Ok(())) => {
            world.wipe(host);
            world.start(host).await;
            "is out".to_owned()
        }
        Some(Err(error)) => error.to_string(),
        None => "the leader died".to_owned(),
    };
    world.trace.note(format!("{name}: {words}"));
}

/// Whether every voter still has its disk and runs: only then may one lose it.
pub fn is_whole(world: &World) -> bool {
    let members = members(world);
    let runs = |m: &MemberState| {
        let host = of_node(&m.member.node_id);
        let life = host.and_then(|host| world.life(host));
        life.and_then(|life| life.replica.raft_id()) == Some(m.member.raft_id)
    };
    members.iter().filter(|m| m.voter).count() >= 3 && members.iter().all(|m| m.voter && runs(m))
}

/// A member loses its disk and comes back under a new Raft id.
pub async fn lose_disk(world: &Arc<World>, host: usize) {
    if !is_whole(world) || !is_member(world, host) {
        return;
    }
    world.wipe(host);
    tokio::time::sleep(world.millis(100..3000)).await;
    world.start(host).await;
    while !is_member(world, host) && !world.over.is_cancelled() {
        admit(world, host).await;
        tokio::time::sleep(world.millis(500..2000)).await;
    }
}
