//! The way into the group of managers, and back under a new address: this replica takes a raft id, tells the managers where it
//! is, and asks those that it finds until one lets it in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use swarm_api::raft_membership_client::RaftMembershipClient;
use swarm_api::{Node, RaftJoinRequest, RaftJoinResponse};
use swarm_raft_store::{Member, Replica};
use tokio::sync::{Notify, watch};

use crate::whereabouts::{Herald, Target, Told, cause};

/// A snapshot may have to come first.
const JOIN_TIMEOUT: Duration = Duration::from_secs(150);
/// Between two rounds over the known managers; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Nodes that are no managers, asked in one round where the managers are.
const MAX_BYSTANDERS: usize = 8;

/// A raft id: random, never 0, never used again.
pub fn new_raft_id() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

/// Addresses of managers that this one was told of; more may be named while it runs. Clones share them.
#[derive(Clone, Default)]
pub struct Remotes {
    addrs: Arc<Mutex<BTreeSet<String>>>,
    named: Arc<Notify>,
}

impl Remotes {
    pub fn new(addrs: Vec<String>) -> Self {
        let addrs = Arc::new(Mutex::new(addrs.into_iter().collect()));
        Self { addrs, named: Arc::default() }
    }

    /// These are tried at once.
    pub fn name(&self, addrs: &[String]) {
        let mut all = self.addrs.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(addrs.iter().cloned());
        self.named.notify_one();
    }

    fn get(&self) -> BTreeSet<String> {
        self.addrs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What entering needs.
pub struct Entry {
    pub replica: Replica,
    pub herald: Herald,
    pub remotes: Remotes,
    pub own_id: String,
    /// What keeps it out, in words; `None` once it is in.
    pub state: watch::Sender<Option<String>>,
}

impl Entry {
    /// Sees to it that this replica is in the group under its address, for as long as it runs. An error is final.
    pub async fn run(self) -> Result<(), String> {
        let raft_id = match self.replica.raft_id() {
            Some(raft_id) => raft_id,
            None => {
                let raft_id = new_raft_id();
                self.replica.prepare(raft_id).await.map_err(|e| e.to_string())?;
                raft_id
            }
        };
        let mut group = self.replica.group();
        loop {
            self.enter(raft_id).await;
            self.state.send_replace(None);
            let out = |group: &Vec<Member>| !self.is_in(group, raft_id);
            if group.wait_for(out).await.is_err() {
                return Ok(());
            }
            // A node that is demoted goes within seconds; one that was promoted again meanwhile must come back.
            tracing::info!("no more among the managers");
        }
    }

    async fn enter(&self, raft_id: u64) {
        let mut pause = FIRST_PAUSE;
        while !self.is_member(raft_id) {
            match self.round(raft_id).await {
                Ok(()) => return,
                Err(reason) => {
                    let new = self.state.borrow().as_ref() != Some(&reason);
                    if new {
                        tracing::info!(reason, "not let into the managers yet");
                    }
                    self.state.send_replace(Some(reason));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.remotes.named.notified() => pause = FIRST_PAUSE,
            }
        }
    }

    /// Tells all where this manager is, if it has moved, and asks managers to let it in.
    async fn round(&self, raft_id: u64) -> Result<(), String> {
        let group = self.replica.group().borrow().clone();
        let former = group.iter().find(|m| m.raft_id == raft_id).map(|m| m.addr.clone());
        let moved = former.filter(|addr| *addr != self.herald.own);
        let (mut doors, mut failures) = match moved {
            Some(_) => self.announce(&group).await,
            None => (self.targets(&group).into_iter().map(|t| t.addr).collect(), Vec::new()),
        };
        let found = !doors.is_empty();
        // It may be the only one, or have won already.
        if self.replica.leadership().borrow().is_leader {
            doors.push(self.herald.own.clone());
        }
        for addr in doors {
            match self.ask(&addr, raft_id).await {
                Ok(_) => return Ok(()),
                Err(reason) => failures.push(format!("{addr}: {reason}")),
            }
        }
        Err(explain(moved.as_deref(), &self.herald.own, &failures, found))
    }

    /// Where managers were found, and why elsewhere none were. Bystanders are only troubled if no manager answers.
    async fn announce(&self, group: &[Member]) -> (Vec<String>, Vec<String>) {
        let mut told = self.herald.tell(self.targets(group), group).await;
        if !told.iter().any(Told::is_manager) {
            told.extend(self.herald.tell(self.bystanders(group), group).await);
        }
        let found = told.iter().filter(|t| t.is_manager()).map(|t| t.target.addr.clone());
        (found.collect(), told.iter().filter_map(failure).collect())
    }

    /// The managers that it knows as a member, and those that it was told of.
    fn targets(&self, group: &[Member]) -> Vec<Target> {
        let others = group.iter().filter(|m| m.node_id != self.own_id);
        let others = others.map(|m| Target::node(self.herald.book.address(m), &m.node_id));
        let mut targets: Vec<Target> = others.collect();
        for addr in self.remotes.get() {
            if addr != self.herald.own && !targets.iter().any(|t| t.addr == addr) {
                targets.push(Target::any(addr));
            }
        }
        targets
    }

    fn bystanders(&self, group: &[Member]) -> Vec<Target> {
        let view = self.replica.store().view();
        let others = view.all::<Node>().filter(|n| !group.iter().any(|m| m.node_id == n.id));
        let mut others: Vec<&Node> = others.collect();
        others.sort_by_key(|n| n.is_down());
        let addr = |n: &&Node| {
            let addr = n.description.as_ref().map(|d| d.listen_addr.clone());
            addr.filter(|addr| !addr.is_empty()).map(|addr| Target::node(addr, &n.id))
        };
        others.iter().filter_map(addr).take(MAX_BYSTANDERS).collect()
    }

    fn is_member(&self, raft_id: u64) -> bool {
        let members = self.replica.members();
        members
            .iter()
            .any(|m| m.voter && m.member.raft_id == raft_id && m.member.addr == self.herald.own)
    }

    /// Also false while the group knows it by an old address.
    fn is_in(&self, group: &[Member], raft_id: u64) -> bool {
        group.iter().any(|m| m.raft_id == raft_id && m.addr == self.herald.own)
    }

    async fn ask(&self, remote: &str, raft_id: u64) -> Result<RaftJoinResponse, String> {
        let channel = self.herald.credentials.channel(remote).map_err(|e| e.to_string())?;
        let request = RaftJoinRequest { addr: self.herald.own.clone(), raft_id };
        let mut client = RaftMembershipClient::new(channel);
        let answer = tokio::time::timeout(JOIN_TIMEOUT, client.join(request)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(cause(&status)),
            Err(_) => Err(format!("no answer within {} s", JOIN_TIMEOUT.as_secs())),
        }
    }
}

fn failure(told: &Told) -> Option<String> {
    let reason = told.answer.as_ref().err()?;
    Some(format!("{}: {reason}", told.target.addr))
}

/// Why it is not in, and what helps.
fn explain(moved: Option<&str>, own: &str, failures: &[String], found: bool) -> String {
    let tried = match failures {
        [] => String::new(),
        failures => format!(" (tried {})", failures.join("; ")),
    };
    let way_out = "name a manager that runs with 'swarmctl reach ADDRESS'";
    match (moved, found) {
        (Some(former), false) => {
            format!(
                "this manager moved from {former} to {own} and finds no other one{tried}: {way_out}"
            )
        }
        (Some(former), true) => {
            format!(
                "this manager moved from {former} to {own}, which no leader has noted yet{tried}"
            )
        }
        (None, false) => format!("this manager finds no other one to let it in{tried}: {way_out}"),
        (None, true) => format!("this manager is not let in yet{tried}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_finds_nobody_says_whom_it_tried_and_what_to_do() {
        let failures = ["b:1: connection refused".to_owned(), "c:1: no route".to_owned()];
        let said = explain(Some("a:1"), "a:2", &failures, false);
        assert_eq!(
            said,
            "this manager moved from a:1 to a:2 and finds no other one (tried b:1: connection \
             refused; c:1: no route): name a manager that runs with 'swarmctl reach ADDRESS'"
        );
        let said = explain(None, "a:2", &[], false);
        assert!(said.contains("finds no other one to let it in: name a manager"), "{said}");
    }
}
