//! The process: what it holds, and what it does with what it is told. Threads: one per TAP device,
//! one that receives from the wire, one for timers, one that listens for the daemon, one per
//! connection of the daemon. They share one immutable picture that is swapped as a whole.

mod receive;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::control;
use crate::counters::Drops;
use crate::mesh::Mesh;
use crate::network::Network;
use crate::tap::Tap;
use crate::wanted::{self, NetworkStatus, Request, Status};
use crate::{timers, wire};

/// Held locked as long as the process lives: there is one at a time.
const LOCK: &str = "lock";

/// Why the process cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Another one has the folder.
    #[error("another swarmd-tunnel serves {0}")]
    Taken(String),
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What it refused.
        what: String,
        /// Why.
        source: io::Error,
    },
}

/// What every thread sees.
pub(crate) struct Core {
    now: ArcSwap<Now>,
    taps: ArcSwap<HashMap<u32, Arc<Tap>>>,
    socket: ArcSwapOption<UdpSocket>,
    pub drops: Drops,
    /// Number of the next session.
    index: Mutex<u32>,
    // One change at a time.
    change: Mutex<()>,
    ended: AtomicBool,
}

/// Mesh and networks at one time.
#[derive(Default)]
pub(crate) struct Now {
    pub mesh: Arc<Mesh>,
    pub networks: HashMap<u32, Arc<Network>>,
}

/// Serves the daemon at `dir` until that says stop. Blocks.
pub fn run(dir: &Path) -> Result<(), ProcessError> {
    let system = |what: &str| {
        let what = format!("{what} {}", dir.display());
        move |source| ProcessError::System { what, source }
    };
    std::fs::create_dir_all(dir).map_err(system("create"))?;
    let _lock = lock(dir)?;
    let listener = control::listen(dir).map_err(system("listen in"))?;
    let core = Arc::new(Core::new());
    let timed = core.clone();
    spawn("timers", move || timers::run(&timed)).map_err(system("start the timers of"))?;
    control::serve(&listener, &core).map_err(system("listen in"))?;
    Ok(())
}

fn lock(dir: &Path) -> Result<File, ProcessError> {
    let path = dir.join(LOCK);
    let opened =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let what = || format!("lock {}", path.display());
    let file = opened.map_err(|source| ProcessError::System { what: what(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(ProcessError::Taken(dir.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(source)) => {
            Err(ProcessError::System { what: what(), source })
        }
    }
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

impl Core {
    fn new() -> Self {
        Self {
            now: ArcSwap::default(),
            taps: ArcSwap::default(),
            socket: ArcSwapOption::empty(),
            drops: Drops::default(),
            // Peers may still send to the sessions of a process before this one.
            index: Mutex::new(rand::random()),
            change: Mutex::new(()),
            ended: AtomicBool::new(false),
        }
    }

    pub fn now(&self) -> arc_swap::Guard<Arc<Now>> {
        self.now.load()
    }

    pub fn tap(&self, vni: u32) -> Option<Arc<Tap>> {
        self.taps.load().get(&vni).cloned()
    }

    pub fn socket(&self) -> Option<Arc<UdpSocket>> {
        self.socket.load_full()
    }

    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The device's reader has ended.
    pub fn lost(&self, tap: &Tap) {
        let _one = self.change();
        let held = self.taps.load();
        if held.get(&tap.vni).is_some_and(|held| std::ptr::eq(&**held, tap)) {
            let mut taps = HashMap::clone(&held);
            taps.remove(&tap.vni);
            self.taps.store(Arc::new(taps));
        }
    }

    /// Does what the daemon says. `file` came with it.
    pub fn carry_out(self: &Arc<Self>, request: Request, file: Option<OwnedFd>) -> Status {
        let refused = match request {
            Request::Status => None,
            Request::Mesh(mesh) => self.set_mesh(&mesh).err().map(|e| e.to_string()),
            Request::Network(table) => {
                self.set_network(table);
                None
            }
            Request::Forget { vni } => {
                self.forget(vni);
                None
            }
            Request::Tap { vni } => match file {
                Some(file) => self.set_tap(vni, file).err().map(|e| e.to_string()),
                None => Some("no device came with the request".to_owned()),
            },
            Request::Stop => {
                self.ended.store(true, Ordering::Relaxed);
                self.taps.swap(Arc::default()).values().for_each(|tap| tap.close());
                self.socket.store(None);
                None
            }
        };
        Status { refused, ..self.status() }
    }

    fn status(&self) -> Status {
        let (now, taps) = (self.now(), self.taps.load());
        let mut networks: BTreeMap<u32, NetworkStatus> = BTreeMap::new();
        for network in now.networks.values() {
            networks.entry(network.vni).or_default().digest = network.digest;
        }
        for vni in taps.keys() {
            networks.entry(*vni).or_default().has_tap = true;
        }
        Status {
            version: wanted::VERSION,
            mesh: now.mesh.digest,
            networks,
            peers: now.mesh.peers().map(|peer| (peer.id.clone(), peer.status())).collect(),
            dropped: self.drops.read(),
            refused: None,
        }
    }

    fn set_mesh(self: &Arc<Self>, wanted: &wanted::Mesh) -> io::Result<()> {
        let _one = self.change();
        let now = self.now.load_full();
        if self.socket().is_none() || now.mesh.port != wanted.port {
            let named = |e: io::Error| {
                io::Error::new(
                    e.kind(),
                    format!("UDP port {} of encrypted networks: {e}", wanted.port),
                )
            };
            let socket = Arc::new(wire::bind(wanted.port).map_err(named)?);
            let (core, receiver) = (self.clone(), socket.clone());
            spawn("wire", move || receive::run(&core, &receiver))?;
            self.socket.store(Some(socket));
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let mesh = now.mesh.changed(wanted, || {
            *index = index.wrapping_add(1);
            *index
        });
        drop(index);
        let (mesh, networks) = (Arc::new(mesh), now.networks.clone());
        self.now.store(Arc::new(Now { mesh: mesh.clone(), networks }));
        mesh.peers().for_each(|peer| timers::begin(self, peer));
        Ok(())
    }

    fn set_network(&self, table: wanted::Network) {
        let _one = self.change();
        let now = self.now.load_full();
        let mut networks = now.networks.clone();
        networks.insert(table.vni, Arc::new(Network::new(table)));
        self.now.store(Arc::new(Now { mesh: now.mesh.clone(), networks }));
    }

    fn forget(&self, vni: u32) {
        let _one = self.change();
        let now = self.now.load_full();
        let mut networks = now.networks.clone();
        networks.remove(&vni);
        self.now.store(Arc::new(Now { mesh: now.mesh.clone(), networks }));
        let mut taps = HashMap::clone(&self.taps.load());
        if let Some(tap) = taps.remove(&vni) {
            tap.close();
        }
        self.taps.store(Arc::new(taps));
    }

    fn set_tap(self: &Arc<Self>, vni: u32, file: OwnedFd) -> io::Result<()> {
        let _one = self.change();
        let tap = Arc::new(Tap::new(vni, file)?);
        let (core, reader) = (self.clone(), tap.clone());
        spawn(&format!("tap {vni}"), move || reader.run(&core))?;
        let mut taps = HashMap::clone(&self.taps.load());
        if let Some(old) = taps.insert(vni, tap) {
            old.close();
        }
        self.taps.store(Arc::new(taps));
        Ok(())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        // It guards nothing but the order.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
