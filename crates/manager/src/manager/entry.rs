//! The way into the group of managers: this replica takes a raft id, then asks the managers that it knows until one lets it
//! in.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use swarm_api::raft_membership_client::RaftMembershipClient;
use swarm_api::{RaftJoinRequest, RaftJoinResponse};
use swarm_ca::Credentials;
use swarm_raft_store::Replica;
use tokio::sync::watch;

/// A snapshot may have to come first.
const JOIN_TIMEOUT: Duration = Duration::from_secs(150);
/// Between two rounds over the known managers; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A raft id: random, never 0, never used again.
pub fn new_raft_id() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

/// What entering needs.
pub struct Entry {
    pub replica: Replica,
    pub credentials: Credentials,
    pub remotes: Vec<String>,
    pub addr: String,
    /// What keeps it out, in words; `None` once it is in.
    pub state: watch::Sender<Option<String>>,
}

impl Entry {
    /// Runs until this replica is in the group under its address. An error is final.
    pub async fn run(self) -> Result<(), String> {
        self.enter().await?;
        self.state.send_replace(None);
        Ok(())
    }

    async fn enter(&self) -> Result<(), String> {
        let raft_id = match self.replica.raft_id() {
            Some(raft_id) => raft_id,
            None => {
                let raft_id = new_raft_id();
                self.replica.prepare(raft_id).await.map_err(|e| e.to_string())?;
                raft_id
            }
        };
        let mut pause = FIRST_PAUSE;
        while !self.is_member(raft_id) {
            for remote in self.remotes() {
                match self.ask(&remote, raft_id).await {
                    Ok(_) => return Ok(()),
                    Err(reason) => {
                        tracing::info!(remote, reason, "not let into the managers yet");
                        self.state.send_replace(Some(format!("{remote}: {reason}")));
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Whom to ask: those it was told of, those that it knew when it was a member, and, if it was the only one, itself.
    fn remotes(&self) -> BTreeSet<String> {
        let members = self.replica.members().into_iter().map(|m| m.member.addr);
        let own = match self.replica.leadership().borrow().is_leader {
            true => Some(self.addr.clone()),
            false => None,
        };
        self.remotes.iter().cloned().chain(members).chain(own).collect()
    }

    /// Also false while the group knows it by an old address.
    fn is_member(&self, raft_id: u64) -> bool {
        self.replica
            .members()
            .iter()
            .any(|m| m.voter && m.member.raft_id == raft_id && m.member.addr == self.addr)
    }

    async fn ask(&self, remote: &str, raft_id: u64) -> Result<RaftJoinResponse, String> {
        let channel = self.credentials.channel(remote).map_err(|e| e.to_string())?;
        let request = RaftJoinRequest { addr: self.addr.clone(), raft_id };
        let mut client = RaftMembershipClient::new(channel);
        let answer = tokio::time::timeout(JOIN_TIMEOUT, client.join(request)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {} s", JOIN_TIMEOUT.as_secs())),
        }
    }
}
