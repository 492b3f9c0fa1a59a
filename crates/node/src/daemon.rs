//! The daemon: the engine and the local socket, which exist always, and the node's membership in a cluster, which comes and
//! goes. The only place where manager and agent meet.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use swarm_agent::{ImageService, VolumeService};
use swarm_api::images_server::ImagesServer;
use swarm_api::node_control_server::NodeControlServer;
use swarm_api::volumes_server::VolumesServer;
use swarm_engine::{Engine, EngineConfig};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::args::Args;
use crate::front::{Front, ManagerSlot};
use crate::listener::{bind_local, serve_local, socket_path};
use crate::member::Member;
use crate::node_service::NodeService;
use crate::recover::{self, force};
use crate::state::StateDir;
use crate::unlock::{self, Locked};

/// The shim's name beside the daemon's own binary.
const SHIM: &str = "swarmd-shim";
/// Docker's API, beside the local socket.
const DOCKER_SOCKET: &str = "docker.sock";
/// What the local socket answers without a manager.
const LOCAL_SERVICES: [&str; 3] =
    ["/swarm.v1.NodeControl/", "/swarm.v1.Images/", "/swarm.v1.Volumes/"];
/// What a node that is in no cluster says to calls for a manager.
pub const NO_CLUSTER: &str = "This node is not a swarm manager. Use \"swarmctl init\" or \
     \"swarmctl join\" to connect this node to swarm and try again.";

/// What every part of the daemon shares.
pub struct Daemon {
    /// The command line.
    pub args: Args,
    /// As the node calls itself.
    pub hostname: String,
    /// Containers and images.
    pub engine: Engine,
    /// Cluster state on disk.
    pub state: StateDir,
    /// The manager's services, if there is a manager here.
    pub slot: ManagerSlot,
    /// The membership; the lock is held while it begins or ends.
    pub member: Mutex<Option<Member>>,
    /// Set while the membership waits for the unlock key.
    pub locked: std::sync::Mutex<Option<Locked>>,
    /// Becomes `Some` with the reason why the daemon must end.
    pub fatal: watch::Sender<Option<String>>,
    /// Ends everything.
    pub cancel: CancellationToken,
    // The state folder is this daemon's as long as this is open.
    _use: std::fs::File,
}

/// Runs the daemon until `cancel`, or until it cannot go on.
pub async fn run(args: Args, cancel: CancellationToken) -> Result<()> {
    let daemon = Arc::new(open(args, cancel.clone()).await?);
    let path = socket_path(&daemon.args.host).map_err(anyhow::Error::msg)?;
    let listener = bind_local(&path).await.with_context(|| format!("bind {}", path.display()))?;
    resume(&daemon).await?;
    let front = Front::new(local_routes(&daemon), &LOCAL_SERVICES, daemon.slot.clone());
    let serving = tokio::spawn(serve_local(listener, front, cancel.clone()));
    let docker = serve_docker(&daemon, &path.with_file_name(DOCKER_SOCKET)).await?;
    tracing::info!(socket = %path.display(), "swarmd is up");
    let mut fatal = daemon.fatal.subscribe();
    let reason = tokio::select! {
        () = cancel.cancelled() => None,
        Ok(reason) = fatal.wait_for(Option::is_some) => reason.clone(),
    };
    cancel.cancel();
    if let Some(member) = daemon.member.lock().await.take() {
        member.stop().await;
    }
    serving.await.context("local socket")?.context("local socket")?;
    docker.await.context("docker socket")?.context("docker socket")?;
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(path.with_file_name(DOCKER_SOCKET));
    match reason {
        Some(reason) => Err(anyhow::anyhow!(reason)),
        None => Ok(()),
    }
}

/// Docker's API beside our own socket.
async fn serve_docker(
    daemon: &Daemon,
    path: &std::path::Path,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>> {
    let listener = bind_local(path).await.with_context(|| format!("bind {}", path.display()))?;
    let kernel = nix::sys::utsname::uname().context("ask the kernel's release")?;
    let facts = swarm_docker_api::Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        architecture: swarm_api::constraint::architecture(std::env::consts::ARCH).into(),
        kernel: kernel.release().to_string_lossy().into_owned(),
    };
    Ok(tokio::spawn(swarm_docker_api::serve(listener, facts, daemon.cancel.clone())))
}

async fn open(args: Args, cancel: CancellationToken) -> Result<Daemon> {
    let hostname = match &args.hostname {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    let config = EngineConfig {
        root: args.state_dir.clone(),
        run: args.run_dir.join("containers"),
        shim: shim_path(&args)?,
        cgroup_parent: args.cgroup_parent.clone(),
    };
    for dir in [&args.state_dir, &args.run_dir] {
        close_to_others(dir).with_context(|| format!("prepare {}", dir.display()))?;
    }
    let folder = args.state_dir.clone();
    let occupied = tokio::task::spawn_blocking(move || recover::occupy(&folder)).await??;
    let engine = Engine::open(config).await.context("open the container engine")?;
    let slot = ManagerSlot::default();
    slot.clear(NO_CLUSTER);
    Ok(Daemon {
        state: StateDir::new(&args.state_dir),
        hostname,
        engine,
        slot,
        member: Mutex::new(None),
        locked: std::sync::Mutex::default(),
        fatal: watch::Sender::new(None),
        cancel,
        _use: occupied,
        args,
    })
}

/// What lies below may be another user's program or a task's environment: nobody but root gets there.
fn close_to_others(dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

fn shim_path(args: &Args) -> Result<PathBuf> {
    let path = match &args.shim {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name(SHIM),
    };
    anyhow::ensure!(path.exists(), "{} does not exist: give its path with --shim", path.display());
    Ok(path)
}

/// Takes up the membership that the disk tells of.
async fn resume(daemon: &Arc<Daemon>) -> Result<()> {
    force::finish(&daemon.state).context("finish making a new cluster")?;
    if daemon.args.force_new_cluster {
        force_new_cluster(daemon).await?;
    }
    let identity = daemon.state.identity().context("load the identity")?;
    let settings = daemon.state.settings().context("load the settings")?;
    match (identity, settings) {
        (Some(kept), Some(settings)) => match unlock::held_back(daemon, kept, &settings)? {
            Some(identity) => {
                let member = Member::resume(daemon, identity, settings).await?;
                *daemon.member.lock().await = Some(member);
            }
            None => tracing::warn!("locked: this manager waits for 'swarmctl unlock'"),
        },
        (None, None) => {}
        // An init or join that was cut off: nothing refers to it yet.
        _ => daemon.state.wipe().context("remove what an interrupted init or join left")?,
    }
    Ok(())
}

async fn force_new_cluster(daemon: &Arc<Daemon>) -> Result<()> {
    let (state, advertise) = (daemon.state.clone(), daemon.args.advertise_addr.clone());
    let addresses = force::Addresses { listen: None, advertise };
    let work = move || force::at_start(&state, &addresses);
    tokio::task::spawn_blocking(work).await?.context("--force-new-cluster")
}

fn local_routes(daemon: &Arc<Daemon>) -> Routes {
    let images = ImageService::new(daemon.engine.clone(), fetcher_of(daemon));
    let mut routes = Routes::builder();
    routes
        .add_service(NodeControlServer::new(NodeService::new(daemon.clone())))
        .add_service(ImagesServer::new(images))
        .add_service(VolumesServer::new(VolumeService::new(daemon.engine.clone())));
    routes.routes()
}

/// The fetcher of the membership that there is when it is asked for.
fn fetcher_of(daemon: &Arc<Daemon>) -> swarm_agent::image_service::FetcherSource {
    let daemon = daemon.clone();
    Arc::new(move || {
        let member = daemon.member.try_lock().ok()?;
        member.as_ref().map(|m| m.fetcher())
    })
}
