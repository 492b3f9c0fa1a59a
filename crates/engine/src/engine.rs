//! The engine itself: what a daemon holds. It keeps a record per container on disk and a shim per
//! live container, so that it can be dropped and opened again at any time without a container
//! noticing. Clones are cheap and share everything.

mod adopt;
mod client;
mod command;
mod create;
mod health;
mod lifecycle;
mod resolve;

pub use create::Rootfs;
pub use lifecycle::STOP_GRACE;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::image::ImageStore;
use crate::log::{LogOptions, reader};
use crate::plan::file;
use crate::state::Record;
use crate::volume::VolumeStore;
use crate::{ContainerState, EngineError, HealthState, Phase};

/// Where an engine keeps things.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Images, volumes, container records, logs; survives a reboot.
    pub root: PathBuf,
    /// Sockets and mount points; may be emptied by a reboot.
    pub run: PathBuf,
    /// The `swarmd-shim` binary.
    pub shim: PathBuf,
    /// Containers get the cgroup `<cgroup_parent>/<id>` in every hierarchy.
    pub cgroup_parent: String,
}

/// Handle to the engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    images: ImageStore,
    volumes: VolumeStore,
    containers: Mutex<Table>,
    /// Ends the tasks that watch containers; the containers themselves go on.
    closed: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

#[derive(Default)]
struct Table {
    by_id: HashMap<String, Arc<Entry>>,
    /// Names in use or about to be, and whose they are.
    names: HashMap<String, String>,
}

/// One container in memory.
struct Entry {
    record: Record,
    phase: watch::Sender<Phase>,
    /// The log is complete.
    ended: watch::Sender<bool>,
    health: watch::Sender<HealthState>,
    live: Mutex<Live>,
}

#[derive(Default, Clone, Copy)]
struct Live {
    pid: Option<i32>,
    started_at: Option<u64>,
}

impl Entry {
    fn new(record: Record, phase: Phase) -> Self {
        let ended = matches!(phase, Phase::Exited(_));
        Self {
            record,
            phase: watch::Sender::new(phase),
            ended: watch::Sender::new(ended),
            health: watch::Sender::new(HealthState::None),
            live: Mutex::default(),
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Two plain values: never half written.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> ContainerState {
        let live = *self.live();
        ContainerState {
            id: self.record.id.clone(),
            name: self.record.name.clone(),
            labels: self.record.spec.labels.clone(),
            spec: self.record.spec.clone(),
            image_id: self.record.image_id.clone(),
            phase: self.phase.borrow().clone(),
            pid: live.pid,
            created_at: self.record.created_at,
            started_at: live.started_at,
            health: *self.health.borrow(),
        }
    }
}

impl Engine {
    /// Opens the engine and adopts every container it finds: running ones keep running, those
    /// that ended meanwhile report how, nothing is restarted.
    pub async fn open(config: EngineConfig) -> Result<Self, EngineError> {
        for dir in [config.root.join("containers"), config.run.clone()] {
            tokio::fs::create_dir_all(&dir)
                .await
                .map_err(EngineError::io(format!("make {}", dir.display())))?;
        }
        let group = format!("/{}/any", config.cgroup_parent.trim_matches('/'));
        // Early, as it may move this process. Containers are refused with this reason until it
        // is remedied; everything else works.
        if let Err(error) = blocking(move || Ok(crate::cgroup::prepare(&group)?)).await {
            tracing::warn!(%error, "containers cannot run");
        }
        let images =
            ImageStore::open(config.root.join("images")).await.map_err(EngineError::Image)?;
        let volumes = VolumeStore::open(config.root.join("volumes"))?;
        let inner = Inner {
            config,
            images,
            volumes,
            containers: Mutex::default(),
            closed: CancellationToken::new(),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.adopt().await?;
        Ok(engine)
    }

    /// The node's images.
    pub fn images(&self) -> &ImageStore {
        &self.inner.images
    }

    /// The node's volumes.
    pub fn volumes(&self) -> &VolumeStore {
        &self.inner.volumes
    }

    /// All containers, oldest first.
    pub fn list(&self) -> Vec<ContainerState> {
        let mut states: Vec<ContainerState> =
            self.table().by_id.values().map(|entry| entry.state()).collect();
        states.sort_by_key(|state| state.created_at);
        states
    }

    /// One container by id, name, or the beginning of an id that no other has.
    pub fn inspect(&self, id: &str) -> Result<ContainerState, EngineError> {
        Ok(self.entry(id)?.state())
    }

    /// What its health checks say, now and from now on.
    pub fn health(&self, id: &str) -> Result<watch::Receiver<HealthState>, EngineError> {
        Ok(self.entry(id)?.health.subscribe())
    }

    /// Its output. Must be called on the runtime; ends when everything was read and, for a
    /// follower, the container has ended. Dropping it stops the reading.
    pub fn logs(&self, id: &str, options: LogOptions) -> Result<reader::Lines, EngineError> {
        let entry = self.entry(id)?;
        let dir = self.dir(&entry.record.id).join(file::LOG);
        Ok(reader::read(dir, options, entry.ended.subscribe()))
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, EngineError> {
        let table = self.table();
        let id = table.names.get(id).map_or(id, String::as_str);
        if let Some(entry) = table.by_id.get(id) {
            return Ok(entry.clone());
        }
        let mut matches = table.by_id.iter().filter(|(full, _)| full.starts_with(id));
        match (matches.next(), matches.next()) {
            (Some((_, entry)), None) if !id.is_empty() => Ok(entry.clone()),
            _ => Err(EngineError::NotFound(id.to_owned())),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is a single insertion or removal.
        self.inner.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Persistent directory of a container.
    fn dir(&self, id: &str) -> PathBuf {
        self.inner.config.root.join("containers").join(id)
    }

    /// Runtime directory of a container; short, because a socket's path is.
    fn run_dir(&self, id: &str) -> PathBuf {
        self.inner.config.run.join(&id[..id.len().min(16)])
    }
}

/// Runs disk work off the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(EngineError::io("engine work")(std::io::Error::other(e))))
}
