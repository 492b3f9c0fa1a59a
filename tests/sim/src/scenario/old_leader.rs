//! Five voters; the leader reaches only the bridge, which with two others is a quorum; the fifth is
//! alone. The leader cannot commit, and must not keep the bridge from electing another.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::Client;
use crate::history::Record;
use crate::membership;
use crate::scenario::chaos;
use crate::world::World;

/// In which the connected quorum must acknowledge a write: the old leader notices that it has lost
/// its quorum, its lease at the bridge runs out, and an election or two.
const BOUND: Duration = Duration::from_secs(12);

pub async fn run(world: Arc<World>) -> Result<String, String> {
    membership::found(&world, 5).await?;
    let record = Arc::new(Record::default());
    let mut client = Client::new(&world, &record, 1);
    client.writes_within(BOUND).await?;
    let (old, _) = world.leader().ok_or("nobody leads")?;
    let others: Vec<usize> = (0..5).filter(|host| *host != old).collect();
    let [bridge, a, b, alone] = others[..] else { return Err("there are not five".into()) };
    {
        let mut conditions = world.conditions();
        conditions.part(&[old], &[a, b, alone]);
        conditions.part(&[alone], &[a, b, bridge]);
    }
    world.trace.note("the old leader reaches only the bridge");
    let progress = client.writes_within(BOUND).await?;
    let (leader, _) = world.leader().ok_or("nobody leads")?;
    if leader == old {
        return Err("a leader without a quorum acknowledged a write".into());
    }
    // It stays so as long as the links are down.
    sleep(Duration::from_secs(5)).await;
    let again = client.writes_within(BOUND).await?;
    chaos::heal(&world, &record).await?;
    chaos::rest(&world).await?;
    Ok(format!("progress after {progress:?}, and again after {again:?}"))
}
