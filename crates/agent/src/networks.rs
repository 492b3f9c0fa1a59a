//! Makes the node's networks equal to the assignments: one actor applies tables, zones and ingress ports, again every few
//! seconds, so that whatever was changed behind its back is put right. Task controllers ask it for sandboxes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use swarm_dns::{Directory, Scope};
use swarm_overlay_net::{Attachment, HostPort, NetError, NetworkTable, NodeNet, Sandbox};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assignment::Assignments;
use crate::drain::Applied;
use crate::local_network::{LOCAL_NETWORK, LocalAddresses};
use crate::plan;

/// The kernel's state is compared with the assignments this often.
const REPAIR_INTERVAL: Duration = Duration::from_secs(10);
/// A task waits this long for its networks before it is given back.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);
/// Docker's value: names of a stack are short, so a name with a dot is tried as it is first.
const NDOTS: u8 = 0;

/// Outcome per network id of the last time it was applied.
type Outcomes = BTreeMap<String, Result<(), String>>;

/// A shared handle.
#[derive(Clone)]
pub struct Networks {
    shared: Arc<Shared>,
}

struct Shared {
    net: NodeNet,
    node_id: String,
    directory: Directory,
    outcomes: watch::Sender<Outcomes>,
    applied: watch::Sender<Applied>,
    // What tasks hold: a network is kept while any of its sandboxes lives. Std mutexes: nothing awaits while they are held.
    held: Mutex<HashMap<String, BTreeSet<String>>>,
    resolvers: Mutex<HashMap<String, CancellationToken>>,
    // Internal networks.
    closed: Mutex<BTreeSet<String>>,
    // The ingress network, which leads out as far as the others of a task let it.
    ingress: Mutex<Option<String>>,
    local: LocalAddresses,
    nudge: Notify,
    tracker: TaskTracker,
    cancel: CancellationToken,
    upstreams: Arc<[SocketAddr]>,
    /// What they said.
    cache: swarm_dns::Cache,
}

/// How a sandbox resolves names.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// Servers for names that the cluster does not know; empty: the node's own.
    pub nameservers: Vec<SocketAddr>,
}

/// What a task wants of its namespace.
#[derive(Debug, Clone, Default)]
pub struct SandboxWish {
    /// Networks by id, with the task's address in each.
    pub attachments: Vec<(String, Ipv4Addr)>,
    /// None of them leads out.
    pub needs_local: bool,
    /// Ports of the host.
    pub ports: Vec<HostPort>,
    /// How it resolves names.
    pub naming: Naming,
    /// An earlier daemon made it: it is there, whether or not a manager was heard since.
    pub resumed: bool,
}

/// Why a sandbox cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// Its network did not come up in time.
    #[error("network {network}: {reason}")]
    NotReady {
        /// Id.
        network: String,
        /// Last reason.
        reason: String,
    },
    /// The data plane failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The node-local network is full.
    #[error("no address is free in the node's local network {0}")]
    LocalFull(Ipv4Net),
}

impl Networks {
    /// Networks of node `node_id` on `net`.
    pub fn new(
        net: NodeNet,
        node_id: String,
        local: LocalAddresses,
        upstreams: Vec<SocketAddr>,
        cancel: CancellationToken,
    ) -> Self {
        let shared = Shared {
            net,
            node_id,
            directory: Directory::default(),
            outcomes: watch::channel(Outcomes::new()).0,
            applied: watch::Sender::default(),
            held: Mutex::default(),
            resolvers: Mutex::default(),
            closed: Mutex::default(),
            ingress: Mutex::default(),
            local,
            nudge: Notify::new(),
            tracker: TaskTracker::new(),
            cancel,
            upstreams: upstreams.into(),
            cache: swarm_dns::Cache::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What the kernel and the resolvers are equal to now.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.shared.applied.subscribe()
    }

    /// Follows the assignments until cancelled. What is in the kernel stays when it ends.
    pub async fn run(self, mut assignments: watch::Receiver<Option<Arc<Assignments>>>) {
        let mut zones = HashMap::new();
        loop {
            let set = assignments.borrow_and_update().clone();
            if let Some(set) = set {
                self.sync(&set, &mut zones).await;
                // Also when something failed: it is tried again, and would hold up every task until then.
                let applied = Applied { session_id: set.session.clone(), version: set.version };
                self.shared
                    .applied
                    .send_if_modified(|known| std::mem::replace(known, applied.clone()) != applied);
            }
            tokio::select! {
                () = self.shared.cancel.cancelled() => break,
                changed = assignments.changed() => if changed.is_err() { break },
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep(REPAIR_INTERVAL) => {}
            }
        }
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
    }

    async fn sync(&self, set: &Assignments, zones: &mut HashMap<String, swarm_dns::Zone>) {
        // What is gone first: a new network may have the number of an old one.
        self.remove_stale(set, zones).await;
        *self.lock(&self.shared.closed) = set
            .networks
            .values()
            .filter(|n| n.spec.as_ref().is_some_and(|s| s.internal))
            .map(|n| n.id.clone())
            .collect();
        let ingress = set.networks.values().find(|n| n.spec.as_ref().is_some_and(|s| s.ingress));
        *self.lock(&self.shared.ingress) = ingress.map(|n| n.id.clone());
        for network in set.networks.values() {
            let zone = plan::zone(set, network);
            if zones.get(&network.id) != Some(&zone) {
                self.shared.directory.set(&network.id, zone.clone());
                zones.insert(network.id.clone(), zone);
            }
            let outcome = match plan::table(set, network, &self.shared.node_id) {
                Ok(table) => self.apply(table).await,
                Err(error) => Err(error.to_string()),
            };
            self.publish(&network.id, outcome);
        }
        if let Err(error) = self.shared.net.set_ingress(plan::ingress_ports(set)).await {
            tracing::warn!(%error, "apply published ports");
        }
    }

    async fn remove_stale(&self, set: &Assignments, zones: &mut HashMap<String, swarm_dns::Zone>) {
        for id in self.shared.net.list().await {
            if id == LOCAL_NETWORK || set.networks.contains_key(&id) || self.is_held(&id) {
                continue;
            }
            zones.remove(&id);
            self.shared.directory.remove(&id);
            if let Err(error) = self.shared.net.remove(&id).await {
                tracing::warn!(network = %id, %error, "remove network");
            }
            self.shared.outcomes.send_modify(|o| drop(o.remove(&id)));
        }
    }

    async fn apply(&self, table: NetworkTable) -> Result<(), String> {
        let (id, name) = (table.id.clone(), table.name.clone());
        match self.shared.net.apply(table).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(network = %id, name = %name, %error, "apply network");
                Err(error.to_string())
            }
        }
    }

    fn publish(&self, id: &str, outcome: Result<(), String>) {
        self.shared.outcomes.send_if_modified(|outcomes| {
            outcomes.insert(id.to_owned(), outcome.clone()).as_ref() != Some(&outcome)
        });
    }

    /// Waits until every one of the networks is up.
    async fn ready(&self, networks: &BTreeSet<String>) -> Result<(), NetworksError> {
        let mut outcomes = self.shared.outcomes.subscribe();
        let all_up = |o: &Outcomes| networks.iter().all(|id| matches!(o.get(id), Some(Ok(()))));
        let waited = tokio::time::timeout(NETWORK_TIMEOUT, outcomes.wait_for(all_up)).await.is_ok();
        if waited {
            return Ok(());
        }
        let outcomes = self.shared.outcomes.borrow();
        let down = networks.iter().find(|id| !matches!(outcomes.get(*id), Some(Ok(()))));
        let network = down.cloned().unwrap_or_default();
        let reason = match outcomes.get(&network) {
            Some(Err(reason)) => reason.clone(),
            _ => format!("not assigned to this node within {NETWORK_TIMEOUT:?}"),
        };
        Err(NetworksError::NotReady { network, reason })
    }

    /// The network namespace of a task: made, or found again after a restart. Without attachments that lead out, it gets an
    /// address of the node's local network, as plain containers do.
    pub async fn sandbox(
        &self,
        task_id: &str,
        wish: SandboxWish,
    ) -> Result<Sandbox, NetworksError> {
        let ids: BTreeSet<String> = wish.attachments.iter().map(|(id, _)| id.clone()).collect();
        self.lock(&self.shared.held).insert(task_id.to_owned(), ids.clone());
        let needs_local = match wish.resumed {
            true => self.shared.local.has(task_id),
            false => {
                self.ready(&ids).await?;
                wish.needs_local
            }
        };
        let mut all: Vec<Attachment> =
            wish.attachments.iter().map(|(id, address)| attachment(id, *address)).collect();
        if needs_local {
            all.push(self.local_attachment(task_id).await?);
        }
        let sandbox = self.shared.net.create_sandbox(task_id, all, wish.ports).await?;
        self.serve_names(task_id, &wish.attachments, needs_local, &wish.naming).await?;
        Ok(sandbox)
    }

    async fn local_attachment(&self, task_id: &str) -> Result<Attachment, NetworksError> {
        let local = &self.shared.local;
        let subnet = local.subnet();
        let gateway = plan::first_address(subnet).ok_or(NetworksError::LocalFull(subnet))?;
        let (taker, id) = (local.clone(), task_id.to_owned());
        let taken = tokio::task::spawn_blocking(move || taker.take(&id)).await;
        let address = taken.ok().flatten().ok_or(NetworksError::LocalFull(subnet))?;
        let table = NetworkTable {
            id: LOCAL_NETWORK.into(),
            name: LOCAL_NETWORK.into(),
            vni: 0,
            subnet,
            more: Vec::new(),
            six: None,
            gateway,
            node_address: gateway,
            mtu: None,
            internal: false,
            ingress: false,
            peers: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
        };
        self.shared.net.apply(table).await?;
        Ok(attachment(LOCAL_NETWORK, address))
    }

    /// Serves 127.0.0.11 in the sandbox, unless it is served already.
    async fn serve_names(
        &self,
        task_id: &str,
        attachments: &[(String, Ipv4Addr)],
        leads_out: bool,
        naming: &Naming,
    ) -> Result<(), NetworksError> {
        let token = self.shared.cancel.child_token();
        {
            let mut resolvers = self.lock(&self.shared.resolvers);
            if resolvers.contains_key(task_id) {
                return Ok(());
            }
            resolvers.insert(task_id.to_owned(), token.clone());
        }
        let sockets = self.shared.net.dns_sockets(task_id).await;
        let (udp, tcp) = match sockets {
            Ok(sockets) => sockets,
            Err(error) => {
                self.lock(&self.shared.resolvers).remove(task_id);
                return Err(error.into());
            }
        };
        let upstreams = match naming.nameservers.is_empty() {
            true => self.shared.upstreams.clone(),
            false => naming.nameservers.clone().into(),
        };
        let networks: Vec<String> = attachments.iter().map(|(id, _)| id.clone()).collect();
        let closed = self.lock(&self.shared.closed).clone();
        let ingress = self.lock(&self.shared.ingress).clone();
        let mut own = networks.iter().filter(|id| Some(*id) != ingress.as_ref()).peekable();
        let internal = !leads_out && own.peek().is_some() && own.all(|id| closed.contains(id));
        let scope = Scope { networks, ndots: NDOTS, upstreams, internal };
        let (directory, id) = (self.shared.directory.clone(), task_id.to_owned());
        let cache = self.shared.cache.clone();
        self.shared.tracker.spawn(async move {
            if let Err(error) = swarm_dns::serve(udp, tcp, scope, directory, cache, token).await {
                tracing::error!(task = %id, %error, "resolver of a task");
            }
        });
        Ok(())
    }

    /// Takes a task's namespace down. No error if there is none.
    pub async fn release(&self, task_id: &str) -> Result<(), NetworksError> {
        if let Some(token) = self.lock(&self.shared.resolvers).remove(task_id) {
            token.cancel();
        }
        self.shared.net.delete_sandbox(task_id).await?;
        let (local, id) = (self.shared.local.clone(), task_id.to_owned());
        // A panic in there would have lost an address of the node's own, nothing more.
        let _ = tokio::task::spawn_blocking(move || local.give_back(&id)).await;
        self.lock(&self.shared.held).remove(task_id);
        self.shared.nudge.notify_one();
        Ok(())
    }

    /// Largest packet of the link that has the data-path address, in bytes; 0 if it cannot be told.
    pub async fn underlay_mtu(&self) -> u32 {
        self.shared.net.underlay_mtu().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "look up the MTU of the data path");
            0
        })
    }

    /// Ids of the sandboxes that the kernel holds now.
    pub async fn sandboxes(&self) -> Vec<String> {
        self.shared.net.sandboxes().await
    }

    fn is_held(&self, network_id: &str) -> bool {
        self.lock(&self.shared.held).values().any(|ids| ids.contains(network_id))
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        // Maps that are whole after any panic.
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attachment(network_id: &str, address: Ipv4Addr) -> Attachment {
    Attachment { network_id: network_id.to_owned(), address: IpAddr::V4(address) }
}
