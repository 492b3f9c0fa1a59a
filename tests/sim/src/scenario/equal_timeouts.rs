//! The leader dies again and again, and the survivors' election timeouts are drawn from so narrow a
//! range that they often stand at the same time: a tie must not repeat itself for ever.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::history::Record;
use crate::membership;
use crate::scenario::chaos;
use crate::world::{Settings, World};

/// Leaders that die.
const DEATHS: usize = 8;
/// Until the survivors acknowledge a write: a dozen ties in a row.
const BOUND: Duration = Duration::from_secs(30);

pub fn settings(_seed: u64) -> Settings {
    let election = (Duration::from_millis(1000), Duration::from_millis(1050));
    Settings { hosts: 3, election, ..Settings::default() }
}

pub async fn run(world: Arc<World>) -> Result<String, String> {
    membership::found(&world, 3).await?;
    let record = Arc::new(Record::default());
    let mut client = Client::new(&world, &record, 1);
    // Messages take long enough for candidates not to hear of each other in time.
    world.conditions().usual = (30, 40);
    let mut longest = Duration::ZERO;
    let mut terms = 0;
    for _ in 0..DEATHS {
        client.writes_within(BOUND).await?;
        let (leader, life) = world.leader().ok_or("nobody leads")?;
        let before = life.replica.sight().map_or(0, |sight| sight.core_term);
        world.crash(leader);
        longest = longest.max(client.writes_within(BOUND).await?);
        let (_, life) = world.leader().ok_or("nobody leads")?;
        let after = life.replica.sight().map_or(0, |sight| sight.core_term);
        // One election takes one term; the rest were ties.
        terms += after.saturating_sub(before + 1);
        world.start(leader).await;
    }
    chaos::heal(&world, &record).await?;
    chaos::rest(&world).await?;
    Ok(format!("{DEATHS} elections, {terms} ties, the longest took {longest:?}"))
}
