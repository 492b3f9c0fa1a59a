//! This node as a member of a cluster: its listener, its agent, and its manager as long as it is one. Follows what the managers
//! say of the node: a new role, new managers; keeps its certificate fresh.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use swarm_agent::fetch::Fetcher;
use swarm_agent::{Agent, AgentConfig, NodeFacts, PeerService};
use swarm_api::peer_server::PeerServer;
use swarm_api::whereabouts_server::WhereaboutsServer;
use swarm_api::{ManagerPeer, NodeRole, SessionMessage};
use swarm_ca::{Caller, Credentials, Identity};
use swarm_manager::address_book::AddressBook;
use swarm_manager::clock::Clock;
use swarm_manager::whereabouts::{Herald, Target, Told};
use swarm_manager::{Keeping, Manager, ManagerConfig, ManagerMember, Mode};
use swarm_overlay_net::NodeNet;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::Routes;

use crate::address::interfaces;
use crate::certificate::Keeper;
use crate::custodian::NodeCustodian;
use crate::daemon::{Daemon, NO_CLUSTER};
use crate::erase::{erase, open_net};
use crate::front::Front;
use crate::listener::serve_tls;
use crate::place::{self, Wish};
use crate::state::Settings;
use crate::upstream::name_servers;
use crate::whereabouts::WhereaboutsService;

/// What other nodes may ask of a node that is no manager.
const PEER_SERVICES: [&str; 2] = ["/swarm.v1.Peer/", "/swarm.v1.Whereabouts/"];
const WORKER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or \
     modify cluster state. Please run this command on a manager node or promote the current node \
     to a manager.";
const STARTING: &str = "the manager of this node is starting";
/// A failed role change is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);

/// A membership. Clones share it.
#[derive(Clone)]
pub struct Member {
    life: Arc<Life>,
    tracker: TaskTracker,
}

struct Life {
    daemon: Arc<Daemon>,
    credentials: Credentials,
    keeper: Arc<Keeper>,
    settings: Mutex<Settings>,
    // Whom the agent may ask.
    managers: watch::Sender<Vec<String>>,
    // Where managers are, also those that moved.
    book: AddressBook,
    agent: Agent,
    net: NodeNet,
    // Held while the role changes.
    manager: Mutex<Option<Manager>>,
    cancel: CancellationToken,
}

impl Member {
    /// Goes on as the member that the disk tells of, wherever the host is now.
    pub async fn resume(daemon: &Arc<Daemon>, identity: Identity, saved: Settings) -> Result<Self> {
        let settings = place::renewed(&saved, &Wish::of(&daemon.args), &interfaces());
        if settings != saved {
            let (from, to) = (&saved.advertise_addr, &settings.advertise_addr);
            tracing::info!(from, to, "the addresses of this node were looked up anew");
            daemon.state.save_settings(&settings).context("remember the addresses")?;
        }
        let listener = bind(&settings).await?;
        let remotes = others(&settings);
        let member = Self::open(daemon, identity, settings, listener).await?;
        if member.life.credentials.identity().role == NodeRole::Manager {
            member.life.start_manager(Mode::Restart { remotes }).await?;
        }
        member.life.offer_managers().await;
        member.follow();
        Ok(member)
    }

    /// Begins with a fresh identity: as the first manager (`Mode::Bootstrap`), or let in by others.
    pub async fn begin(
        daemon: &Arc<Daemon>,
        identity: Identity,
        settings: Settings,
        listener: TcpListener,
        mode: Option<Mode>,
    ) -> Result<Self> {
        let member = Self::open(daemon, identity, settings, listener).await?;
        if let Some(mode) = mode
            && let Err(error) = member.life.start_manager(mode).await
        {
            member.stop().await;
            return Err(error);
        }
        member.life.offer_managers().await;
        member.follow();
        Ok(member)
    }

    /// Listener and agent; the manager comes after.
    async fn open(
        daemon: &Arc<Daemon>,
        identity: Identity,
        settings: Settings,
        listener: TcpListener,
    ) -> Result<Self> {
        let credentials = Credentials::new(identity);
        let net = open_net(daemon, &settings).await?;
        // None yet: the one here may not serve before it has started.
        let managers = watch::Sender::new(Vec::new());
        let book = AddressBook::open(&daemon.state.addresses());
        let facts = NodeFacts::read(
            daemon.hostname.clone(),
            settings.data_path_addr.clone(),
            settings.advertise_addr.clone(),
            daemon.args.label_map(),
        )
        .context("describe this node")?;
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let agent = Agent::start(AgentConfig {
            credentials: credentials.clone(),
            engine: daemon.engine.clone(),
            net: net.clone(),
            facts,
            state_dir: daemon.state.agent(),
            managers: managers.subscribe(),
            upstreams: name_servers(&resolv_conf),
        })
        .await?;
        let cancel = daemon.cancel.child_token();
        match credentials.identity().role {
            NodeRole::Manager => daemon.slot.clear_for_now(STARTING),
            NodeRole::Worker => daemon.slot.clear(WORKER),
        }
        let tracker = TaskTracker::new();
        let front = Front::new(peer_routes(daemon, &agent), &PEER_SERVICES, daemon.slot.clone());
        let (serving, fatal) =
            (serve_tls(listener, credentials.clone(), front, cancel.clone()), daemon.fatal.clone());
        tracker.spawn(async move {
            if let Err(error) = serving.await {
                fatal.send_replace(Some(format!("the listener for other nodes failed: {error}")));
            }
        });
        watch_fatal(agent.fatal(), daemon);
        let life = Arc::new(Life {
            daemon: daemon.clone(),
            keeper: Arc::new(Keeper::new(credentials.clone(), daemon.state.clone())),
            credentials,
            settings: Mutex::new(settings),
            managers,
            book,
            agent,
            net,
            manager: Mutex::new(None),
            cancel,
        });
        Ok(Self { life, tracker })
    }

    fn follow(&self) {
        let life = self.life.clone();
        let cancel = life.cancel.clone();
        self.tracker.spawn(async move {
            cancel.run_until_cancelled(life.follow_news()).await;
        });
        let life = self.life.clone();
        let cancel = life.cancel.clone();
        self.tracker.spawn(async move {
            let managers = life.managers.subscribe();
            cancel.run_until_cancelled(life.keeper.run(managers)).await;
        });
    }

    /// The node's identity now.
    pub fn identity(&self) -> Arc<Identity> {
        self.life.credentials.identity()
    }

    /// What the managers said last.
    pub fn news(&self) -> watch::Receiver<Option<SessionMessage>> {
        self.life.agent.news()
    }

    /// Why this node cannot take part, if the managers refuse it for good.
    pub fn removed(&self) -> Option<String> {
        self.life.agent.removed()
    }

    /// The manager here, if there is one.
    pub async fn manager(&self) -> Option<Manager> {
        self.life.manager.lock().await.clone()
    }

    /// Addresses and managers.
    pub async fn settings(&self) -> Settings {
        self.life.settings.lock().await.clone()
    }

    /// Where managers are.
    pub fn book(&self) -> &AddressBook {
        &self.life.book
    }

    /// A manager says where it is now.
    pub async fn heard(&self, caller: &Caller, addr: &str) -> Result<(), Status> {
        match (self.manager().await, caller) {
            (Some(manager), caller) => manager.heard(caller, addr),
            (None, Caller::Node { node_id, .. }) => {
                if self.life.book.note(node_id, addr) {
                    tracing::info!(manager = node_id, addr, "a manager has another address now");
                    self.life.offer_managers().await;
                }
                Ok(())
            }
            (None, _) => Err(Status::permission_denied("only managers say where they are")),
        }
    }

    /// Looks for managers at these addresses.
    pub async fn reach(&self, addrs: &[String]) -> Vec<Told> {
        let told = match self.manager().await {
            Some(manager) => manager.reach(addrs).await,
            None => {
                let (credentials, book) = (self.credentials(), self.life.book.clone());
                // A worker has nothing to tell: it only asks.
                let herald = Herald { credentials, book, own: String::new() };
                herald.tell(addrs.iter().map(Target::any).collect(), &[]).await
            }
        };
        self.life.offer_managers().await;
        told
    }

    /// For channels to other nodes.
    pub fn credentials(&self) -> Credentials {
        self.life.credentials.clone()
    }

    /// Fetches images from other nodes.
    pub fn fetcher(&self) -> Fetcher {
        self.life.agent.fetcher()
    }

    /// Ends the membership's processes here; containers go on, and [`Member::resume`] takes it up again.
    pub async fn stop(&self) {
        let manager = self.life.manager.lock().await.take();
        let hand_over = async {
            if let Some(manager) = manager {
                manager.shutdown().await;
            }
        };
        tokio::join!(self.life.agent.stop(), hand_over);
        self.life.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.life.daemon.slot.clear(NO_CLUSTER);
    }

    /// Ends the membership for good: see [`erase`].
    pub async fn leave(self) -> Result<()> {
        self.stop().await;
        erase(&self.life.daemon, &self.life.net).await
    }
}

impl Life {
    async fn start_manager(&self, mode: Mode) -> Result<()> {
        let settings = self.settings.lock().await.clone();
        let config = ManagerConfig {
            credentials: self.credentials.clone(),
            state_dir: self.daemon.state.raft(),
            advertise_addr: settings.advertise_addr,
            data_keys: self.daemon.state.data_keys().context("keys of the store")?,
            clock: Clock::system(),
            keeping: Some(Keeping {
                custodian: Arc::new(NodeCustodian::new(
                    self.daemon.state.clone(),
                    self.keeper.clone(),
                )),
                snapshots: self.daemon.state.snapshots(),
            }),
            book: self.book.clone(),
        };
        let mut place = self.manager.lock().await;
        let manager = Manager::start(config, mode).await?;
        self.daemon.slot.put(manager.routes());
        watch_fatal(manager.fatal(), &self.daemon);
        *place = Some(manager);
        Ok(())
    }

    async fn follow_news(&self) {
        let mut news = self.agent.news();
        loop {
            let message = news.borrow_and_update().clone();
            if let Some(message) = message {
                self.learn_managers(&message).await;
                self.keeper.follow(&message).await;
                let role = message.node.as_ref().map(|n| n.role());
                if let Some(role) = role
                    && let Err(error) = self.take_role(role).await
                {
                    tracing::warn!(?role, error = %format!("{error:#}"), "change role");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    async fn learn_managers(&self, message: &SessionMessage) {
        let known: Vec<String> = message.managers.iter().map(|m| m.addr.clone()).collect();
        if known.is_empty() {
            return;
        }
        if self.manager.lock().await.is_none() {
            let member = |peer: &ManagerPeer| ManagerMember {
                node_id: peer.node_id.clone(),
                addr: peer.addr.clone(),
                ..ManagerMember::default()
            };
            let members: Vec<ManagerMember> = message.managers.iter().map(member).collect();
            self.book.settle(&members);
        }
        {
            let mut settings = self.settings.lock().await;
            if known != settings.managers {
                settings.managers = known;
                if let Err(error) = self.daemon.state.save_settings(&settings) {
                    tracing::warn!(%error, "remember the managers");
                }
            }
        }
        self.offer_managers().await;
    }

    /// Tells the agent whom to ask: the managers that are known, and those that moved. The one here only while it runs.
    async fn offer_managers(&self) {
        let is_manager = self.manager.lock().await.is_some();
        let settings = self.settings.lock().await;
        let mut offered = settings.managers.clone();
        let moved = self.book.places().into_iter().map(|(_, addr)| addr);
        for addr in moved.collect::<Vec<_>>() {
            if !offered.contains(&addr) {
                offered.push(addr);
            }
        }
        offered.retain(|addr| is_manager || *addr != settings.advertise_addr);
        self.managers.send_if_modified(|known| {
            let differs = *known != offered;
            known.clone_from(&offered);
            differs
        });
    }

    /// Makes certificate and manager fit the role that the managers gave this node.
    async fn take_role(&self, role: NodeRole) -> Result<()> {
        let is_manager = self.manager.lock().await.is_some();
        if self.credentials.identity().role == role && is_manager == (role == NodeRole::Manager) {
            return Ok(());
        }
        let settings = self.settings.lock().await.clone();
        // The lock is free again below: the manager is asked for while it ends.
        let ending = match role {
            NodeRole::Worker => self.manager.lock().await.take(),
            NodeRole::Manager => None,
        };
        if let Some(manager) = ending {
            self.daemon.slot.clear(WORKER);
            self.offer_managers().await;
            manager.shutdown().await;
            self.daemon.state.forget_manager().context("remove the store")?;
        }
        if self.credentials.identity().role != role {
            let managers = match role {
                NodeRole::Worker => others(&settings),
                NodeRole::Manager => settings.managers.clone(),
            };
            self.keeper.renew(&managers).await?;
        }
        if role == NodeRole::Manager {
            self.start_manager(Mode::Join { remotes: others(&settings) }).await?;
            self.offer_managers().await;
        }
        tracing::info!(?role, "role taken");
        Ok(())
    }
}

/// A part that cannot go on ends the daemon; whoever supervises it starts it anew.
fn watch_fatal(mut failed: watch::Receiver<Option<String>>, daemon: &Daemon) {
    let fatal = daemon.fatal.clone();
    tokio::spawn(async move {
        if let Ok(reason) = failed.wait_for(Option::is_some).await {
            fatal.send_replace(reason.clone());
        }
    });
}

/// Binds the address that other nodes use.
pub async fn bind(settings: &Settings) -> Result<TcpListener> {
    let addr = &settings.listen_addr;
    TcpListener::bind(addr).await.with_context(|| format!("listen on {addr}"))
}

/// The managers that are not this node.
fn others(settings: &Settings) -> Vec<String> {
    settings.managers.iter().filter(|m| **m != settings.advertise_addr).cloned().collect()
}

fn peer_routes(daemon: &Arc<Daemon>, agent: &Agent) -> Routes {
    Routes::new(PeerServer::new(PeerService::new(daemon.engine.clone(), agent.assignments())))
        .add_service(WhereaboutsServer::new(WhereaboutsService::new(daemon.clone())))
}
