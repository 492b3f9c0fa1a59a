//! Telling other nodes where this manager is, and learning from them where the other managers are.
//!
//! What a node says of others is only a hint: it is noted once the other has answered at that address and proved by its
//! certificate to be that node. Answering such calls is the node crate's: workers pass on what they were told, too.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use swarm_api::whereabouts_client::WhereaboutsClient;
use swarm_api::{AnnounceRequest, AnnounceResponse};
use swarm_ca::Credentials;
use swarm_raft_store::Member;

use crate::address_book::AddressBook;

/// A connection takes at most three seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// Hints that are followed in one round.
const MAX_HINTS: usize = 16;

/// Someone to tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// `host:port`.
    pub addr: String,
    /// Which node must answer there; `None`: any manager.
    pub node_id: Option<String>,
}

impl Target {
    /// Whatever manager answers at `addr`.
    pub fn any(addr: impl Into<String>) -> Self {
        Self { addr: addr.into(), node_id: None }
    }

    /// The node `node_id` and no other.
    pub fn node(addr: impl Into<String>, node_id: impl Into<String>) -> Self {
        Self { addr: addr.into(), node_id: Some(node_id.into()) }
    }
}

/// What became of telling someone.
pub struct Told {
    /// Whom.
    pub target: Target,
    /// Its answer, or why there is none.
    pub answer: Result<AnnounceResponse, String>,
}

impl Told {
    /// Whether a manager answered.
    pub fn is_manager(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| !answer.addr.is_empty())
    }
}

/// Asks `target`, and tells it that this manager is at `own`, unless that is empty.
pub async fn tell(
    credentials: &Credentials,
    target: &Target,
    own: &str,
) -> Result<AnnounceResponse, String> {
    let channel = match &target.node_id {
        Some(node_id) => credentials.peer_channel(&target.addr, node_id),
        None => credentials.channel(&target.addr),
    };
    let mut client = WhereaboutsClient::new(channel.map_err(|e| e.to_string())?);
    let call = client.announce(AnnounceRequest { addr: own.to_owned() });
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(cause(&status)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Why a call failed, in the words of whoever knows: for a connection, the kernel's.
pub fn cause(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(error) => root_cause(error),
        None => status.message().to_owned(),
    }
}

/// What is at the bottom of an error.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Tells where this manager is, and notes where the others are.
#[derive(Clone)]
pub struct Herald {
    /// Proves who tells.
    pub credentials: Credentials,
    /// Where it is noted.
    pub book: AddressBook,
    /// `host:port` of this manager.
    pub own: String,
}

impl Herald {
    /// Tells all targets at once, and then those of `members` that they have heard of elsewhere.
    pub async fn tell(&self, targets: Vec<Target>, members: &[Member]) -> Vec<Told> {
        let told = join_all(targets.into_iter().map(|target| self.tell_one(target))).await;
        let tried: BTreeSet<&str> = told.iter().map(|t| t.target.addr.as_str()).collect();
        let mut hints = BTreeSet::new();
        for answer in told.iter().filter_map(|t| t.answer.as_ref().ok()) {
            let news = answer.managers.iter().filter(|place| {
                let is_member = members.iter().any(|m| m.node_id == place.node_id);
                is_member && place.addr != self.own && !tried.contains(place.addr.as_str())
            });
            hints.extend(news.map(|place| Target::node(&place.addr, &place.node_id)));
        }
        let hints = hints.into_iter().take(MAX_HINTS).map(|target| self.tell_one(target));
        let more = join_all(hints).await;
        told.into_iter().chain(more).collect()
    }

    async fn tell_one(&self, target: Target) -> Told {
        let answer = match tell(&self.credentials, &target, &self.own).await {
            Ok(answer) => self.believe(&target, answer).await,
            Err(reason) => Err(reason),
        };
        Told { target, answer }
    }

    /// Notes a manager where it was found, once it has proved which one it is.
    async fn believe(
        &self,
        target: &Target,
        answer: AnnounceResponse,
    ) -> Result<AnnounceResponse, String> {
        if answer.addr.is_empty() {
            return Ok(answer);
        }
        if target.node_id.is_none() {
            let same = Target::node(&target.addr, &answer.node_id);
            tell(&self.credentials, &same, &self.own).await?;
        }
        if self.book.note(&answer.node_id, &target.addr) {
            tracing::info!(manager = answer.node_id, addr = target.addr, "a manager was found");
        }
        Ok(answer)
    }
}
