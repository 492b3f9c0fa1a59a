//! One cluster of the hosts of a lab, as an administrator would make it: init on the first, join on
//! the others.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use swarm_api::{
    InitRequest, JoinRequest, ListNodesRequest, LocalState, Node, NodeRole, NodeState, Reachability,
};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, ask, local};
use crate::cluster::{Role, cluster, token};
use crate::output;

/// A join takes one or two round trips and, for a manager, a snapshot.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// From the last join until all say that they are ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A host that is to be a node.
pub struct Member {
    /// Its name and hostname.
    pub name: String,
    /// Its address on the lab's network.
    pub address: String,
    /// What it is to be.
    pub manager: bool,
    /// Its control socket, as `SWARM_HOST` has it.
    pub socket: String,
}

/// Makes the cluster, or adds the members that it lacks, and waits until all are ready.
pub async fn form(members: &[Member]) -> Result<()> {
    let mut clients = Vec::new();
    for member in members {
        clients.push(Client::connect(&member.socket).await?);
    }
    let seed = match serving(&clients).await? {
        Some(seed) => seed,
        None => init(members, &clients).await?,
    };
    let seed = clients.get(seed).context("there is no manager")?;
    let cluster = cluster(seed).await?;
    let addr = seed.info().await?.addr;
    let join = |member: &'_ Member| -> Result<JoinRequest> {
        let role = if member.manager { Role::Manager } else { Role::Worker };
        Ok(JoinRequest {
            advertise_addr: member.address.clone(),
            remote_addrs: vec![addr.clone()],
            token: token(&cluster, role)?.to_owned(),
            ..JoinRequest::default()
        })
    };
    let all = || members.iter().zip(&clients);
    // One manager at a time: each changes who votes.
    for (member, client) in all().filter(|(m, _)| m.manager) {
        join_one(member, client, join(member)?).await?;
    }
    let workers = all().filter(|(m, _)| !m.manager);
    try_join_all(workers.map(|(member, client)| async {
        let request = join(member)?;
        join_one(member, client, request).await
    }))
    .await?;
    until_ready(seed, members).await
}

/// The first member that already serves a cluster; waits for those that are starting.
async fn serving(clients: &[Client]) -> Result<Option<usize>> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let mut belongs = false;
        for (i, client) in clients.iter().enumerate() {
            let info = client.info().await?;
            if info.control_available {
                return Ok(Some(i));
            }
            belongs |= info.state() != LocalState::Inactive && info.role() == NodeRole::Manager;
        }
        if !belongs {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            bail!("the managers of this lab do not serve their cluster: see 'swarmctl lab ls'");
        }
        sleep(POLL).await;
    }
}

async fn init(members: &[Member], clients: &[Client]) -> Result<usize> {
    let index = members.iter().position(|m| m.manager).context("the lab has no manager")?;
    let (member, client) = (&members[index], &clients[index]);
    let request = InitRequest { advertise_addr: member.address.clone(), ..InitRequest::default() };
    local(client.node().init(request).await).with_context(|| member.name.clone())?;
    let deadline = Instant::now() + READY_WITHIN;
    while !client.info().await?.control_available {
        if Instant::now() >= deadline {
            bail!("{}: the first manager does not serve its cluster", member.name);
        }
        sleep(POLL).await;
    }
    output::note(format_args!("{} made the cluster", member.name));
    Ok(index)
}

/// Joins the member unless it belongs to the cluster already.
async fn join_one(member: &Member, client: &Client, request: JoinRequest) -> Result<()> {
    if client.info().await?.state() != LocalState::Inactive {
        return Ok(());
    }
    let mut node = client.node();
    let Ok(answer) = timeout(JOIN_WITHIN, node.join(request)).await else {
        bail!("{} did not join within {} s", member.name, JOIN_WITHIN.as_secs());
    };
    let joined = local(answer).with_context(|| member.name.clone())?;
    let role = match joined.role() {
        NodeRole::Manager => "manager",
        NodeRole::Worker => "worker",
    };
    output::note(format_args!("{} joined as a {role}", member.name));
    Ok(())
}

async fn until_ready(seed: &Client, members: &[Member]) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let nodes = ask!(seed, list_nodes, ListNodesRequest::default())?.nodes;
        let missing: Vec<&str> = members
            .iter()
            .filter(|m| !nodes.iter().any(|n| n.hostname() == m.name && is_ready(n, m.manager)))
            .map(|m| m.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("not ready after {} s: {}", READY_WITHIN.as_secs(), missing.join(", "));
        }
        sleep(POLL).await;
    }
}

fn is_ready(node: &Node, manager: bool) -> bool {
    let ready = node.status.as_ref().is_some_and(|s| s.state() == NodeState::NodeReady);
    let reachable =
        node.manager_status.as_ref().is_some_and(|s| s.reachability() == Reachability::Reachable);
    ready && (reachable || !manager)
}
