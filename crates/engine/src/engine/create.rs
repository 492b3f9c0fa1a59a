//! Creating a container: image and specification become a record and a plan on disk, and a shim
//! that carries the plan out up to the point where the command would run.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::resolve;
use super::{Engine, Entry, blocking};
use crate::image::{ImageConfig, ImageError};
use crate::plan::{FileHeader, Plan, PlanMount, Report, file};
use crate::profile;
use crate::spec::{ContainerSpec, MountKind, Propagation, SecretFile};
use crate::state::{Record, now};
use crate::{Container, EngineError, Phase, cgroup};

/// A root file system to run on.
#[derive(Debug, Clone, Default)]
pub struct Rootfs {
    /// Id of the image, for `inspect`.
    pub id: String,
    /// Directories, lowest first.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

/// A record being made, with what must not be written to it.
struct Draft {
    record: Record,
    files: Vec<SecretFile>,
}

impl Engine {
    /// Sets a container up from an image that is in the store; its command does not run yet.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Container, EngineError> {
        let image = self.inner.images.get(&spec.image).await.map_err(|error| match error {
            ImageError::NotFound(name) => EngineError::ImageNotFound(name),
            other => EngineError::Image(other),
        })?;
        let mut layers = self.inner.images.unpacked(&image).await.map_err(EngineError::Image)?;
        layers.reverse();
        self.create_on(spec, Rootfs { id: image.id, layers, config: image.config }).await
    }

    /// The same on a root file system that need not be in the store.
    pub async fn create_on(
        &self,
        mut spec: ContainerSpec,
        rootfs: Rootfs,
    ) -> Result<Container, EngineError> {
        let id = hex::encode(rand::random::<[u8; 32]>());
        if spec.name.is_empty() {
            spec.name = id[..12].to_owned();
        }
        let name = spec.name.clone();
        self.reserve(&name, &id)?;
        let result = self.build(&id, spec, rootfs).await;
        if result.is_err() {
            self.discard(&id, &name).await;
        }
        result.map(|()| Container { id, name })
    }

    fn reserve(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let mut table = self.table();
        if let Some(owner) = table.names.get(name) {
            let id = owner.clone();
            return Err(EngineError::AlreadyExists { name: name.to_owned(), id });
        }
        table.names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    async fn build(
        &self,
        id: &str,
        spec: ContainerSpec,
        rootfs: Rootfs,
    ) -> Result<(), EngineError> {
        let (engine, id) = (self.clone(), id.to_owned());
        let draft = blocking(move || engine.draft(&id, spec, rootfs)).await?;
        let pid = self.spawn_shim(&draft.record, draft.files).await?;
        let entry = Arc::new(Entry::new(draft.record, Phase::Created));
        entry.live().pid = Some(pid);
        self.insert(entry.clone());
        self.watch(entry);
        Ok(())
    }

    /// Takes back what a failed creation made.
    async fn discard(&self, id: &str, name: &str) {
        self.table().names.remove(name);
        self.inner.volumes.release(id);
        let (dir, run) = (self.dir(id), self.run_dir(id));
        let cgroup = self.cgroup(id);
        let cleaned = blocking(move || {
            for dir in [dir, run] {
                // Either may not exist yet.
                let _ = fs::remove_dir_all(dir);
            }
            cgroup::remove(&cgroup).map_err(EngineError::io("remove cgroup"))
        });
        if let Err(error) = cleaned.await {
            tracing::warn!(container = name, %error, "a failed creation left something behind");
        }
    }

    fn cgroup(&self, id: &str) -> String {
        format!("/{}/{id}", self.inner.config.cgroup_parent.trim_matches('/'))
    }

    /// Resolves the specification and writes everything the shim needs. Blocks on the disk.
    fn draft(
        &self,
        id: &str,
        mut spec: ContainerSpec,
        rootfs: Rootfs,
    ) -> Result<Draft, EngineError> {
        let name = spec.name.clone();
        let invalid = |message| EngineError::InvalidSpec { container: name.clone(), message };
        resolve::check(&spec).map_err(&invalid)?;
        let image = &rootfs.config;
        let stop = spec.stop_signal.clone().unwrap_or_else(|| image.stop_signal.clone());
        let stop_signal = if stop.is_empty() { Ok(libc::SIGTERM) } else { resolve::signal(&stop) };
        let stop_signal = stop_signal.map_err(&invalid)?;
        let mut anonymous = Vec::new();
        let mounts = self.mounts(id, &spec, image, &mut anonymous)?;
        let hostname = spec.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
        let dir = self.dir(id);
        let devices_limited = cgroup::limits_devices();
        let workdir = spec.workdir.clone().unwrap_or_else(|| image.working_dir.clone());
        let plan = Plan {
            id: id.to_owned(),
            name: name.clone(),
            layers: rootfs.layers,
            dir: dir.clone(),
            filters: self.inner.config.root.join("filters"),
            cgroup: self.cgroup(id),
            args: resolve::args(&spec, image).map_err(&invalid)?,
            env: resolve::env(&spec, image, &hostname),
            workdir: if workdir.is_empty() { "/".to_owned() } else { workdir },
            user: spec.user.clone().unwrap_or_else(|| image.user.clone()),
            groups: spec.groups.clone(),
            hostname,
            domainname: spec.domainname.clone(),
            mounts,
            network: spec.network.clone(),
            resources: spec.resources.clone(),
            capabilities: resolve::capabilities(&spec, devices_limited).map_err(&invalid)?,
            ulimits: spec.ulimits.clone(),
            sysctls: spec.sysctls.clone(),
            read_only: spec.read_only,
            init: spec.init,
            oom_score_adj: spec.oom_score_adj,
            no_new_privileges: spec.no_new_privileges,
            shm_size: spec.shm_size.unwrap_or(profile::SHM_SIZE),
        };
        let files = std::mem::take(&mut spec.files);
        let record = Record {
            id: id.to_owned(),
            name: name.clone(),
            created_at: now(),
            image_id: rootfs.id,
            healthcheck: resolve::healthcheck(&spec, image),
            has_files: !files.is_empty(),
            anonymous_volumes: anonymous,
            stop_signal,
            spec,
            plan,
        };
        let run = self.run_dir(id);
        fs::create_dir_all(&run).map_err(EngineError::io("make run directory"))?;
        write_files(&record, &dir).map_err(EngineError::io(format!("create container {name}")))?;
        Ok(Draft { record, files })
    }

    /// Sources of all mounts; makes volumes that are missing.
    fn mounts(
        &self,
        id: &str,
        spec: &ContainerSpec,
        image: &ImageConfig,
        anonymous: &mut Vec<String>,
    ) -> Result<Vec<PlanMount>, EngineError> {
        let mut mounts = Vec::new();
        for mount in &spec.mounts {
            let target = mount.target.clone();
            mounts.push(match &mount.kind {
                MountKind::Bind { source, read_only, propagation, recursive } => {
                    if !source.exists() {
                        return Err(EngineError::BindSourceMissing(source.clone()));
                    }
                    PlanMount::Bind {
                        source: source.clone(),
                        target,
                        read_only: *read_only,
                        propagation: *propagation,
                        recursive: *recursive,
                        copy_up: false,
                    }
                }
                MountKind::Volume { name, read_only, nocopy, labels } => {
                    let labels = labels.clone();
                    let source = self.volume(id, name, labels, anonymous)?;
                    volume_mount(source, target, *read_only, !nocopy)
                }
                MountKind::Tmpfs { size, mode } => {
                    PlanMount::Tmpfs { target, size: *size, mode: mode.unwrap_or(0o1777) }
                }
            });
        }
        for target in image.volumes.keys().map(PathBuf::from) {
            if !mounts.iter().any(|mount| *mount.target() == target) {
                let source = self.volume(id, "", BTreeMap::new(), anonymous)?;
                mounts.push(volume_mount(source, target, false, true));
            }
        }
        Ok(mounts)
    }

    fn volume(
        &self,
        id: &str,
        name: &str,
        labels: BTreeMap<String, String>,
        anonymous: &mut Vec<String>,
    ) -> Result<PathBuf, EngineError> {
        let unnamed = name.is_empty();
        let name = if unnamed { hex::encode(rand::random::<[u8; 32]>()) } else { name.to_owned() };
        let volume = self.inner.volumes.make(&name, labels, unnamed)?;
        self.inner.volumes.acquire(&name, id);
        if unnamed {
            anonymous.push(name);
        }
        Ok(volume.mountpoint)
    }

    /// Starts the shim and waits until the container is set up; the pid of its first process.
    pub(super) async fn spawn_shim(
        &self,
        record: &Record,
        files: Vec<SecretFile>,
    ) -> Result<i32, EngineError> {
        let context = format!("start the shim of container {}", record.name);
        let io = |error| EngineError::io(context.clone())(error);
        let group = record.plan.cgroup.clone();
        blocking(move || Ok(cgroup::prepare(&group)?)).await?;
        let (dir, run) = (self.dir(&record.id), self.run_dir(&record.id));
        let errors = fs::File::create(dir.join("shim.log")).map_err(io)?;
        let limits = record.spec.log;
        let mut child = tokio::process::Command::new(&self.inner.config.shim)
            .arg(&dir)
            .arg(&run)
            .arg(limits.max_size.to_string())
            .arg(limits.max_files.to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(io)?;
        if let Some(mut input) = child.stdin.take() {
            // A shim that fails early stops reading; its report then says why.
            let _ = send_files(&mut input, &files).await;
        }
        let mut text = Vec::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_end(&mut text).await.map_err(io)?;
        }
        // Dropping the handle leaves the shim alone; the runtime reaps it when it ends.
        drop(child);
        let container = record.name.clone();
        match serde_json::from_slice(&text) {
            Ok(Report::Created { pid }) => Ok(pid),
            Ok(Report::Failed { message, code: 0 }) => {
                Err(EngineError::Shim { container, message })
            }
            Ok(Report::Failed { message, code }) => {
                Err(EngineError::NotExecutable { container, message, code })
            }
            Err(_) => {
                let said = fs::read_to_string(dir.join("shim.log")).unwrap_or_default();
                let message = format!("its shim ended without a report: {}", said.trim());
                Err(EngineError::Shim { container, message })
            }
        }
    }
}

fn volume_mount(source: PathBuf, target: PathBuf, read_only: bool, copy_up: bool) -> PlanMount {
    let propagation = Propagation::Rprivate;
    PlanMount::Bind { source, target, read_only, propagation, recursive: false, copy_up }
}

async fn send_files(
    input: &mut tokio::process::ChildStdin,
    files: &[SecretFile],
) -> std::io::Result<()> {
    for file in files {
        let header = FileHeader {
            target: file.target.clone(),
            uid: file.uid,
            gid: file.gid,
            mode: file.mode,
            len: file.data.len(),
        };
        let mut line = serde_json::to_vec(&header)?;
        line.push(b'\n');
        input.write_all(&line).await?;
        input.write_all(&file.data).await?;
    }
    input.shutdown().await
}

/// Makes the container's directory; the record comes last, as it makes the rest count.
fn write_files(record: &Record, dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join(file::LOG))?;
    fs::write(dir.join("hostname"), format!("{}\n", record.plan.hostname))?;
    fs::write(dir.join("hosts"), hosts(&record.spec, &record.plan.hostname))?;
    let resolv = match &record.spec.resolv_conf {
        Some(text) => text.clone(),
        None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    fs::write(dir.join("resolv.conf"), resolv)?;
    write_private(&dir.join(file::PLAN), &serde_json::to_vec(&record.plan)?)?;
    let partial = dir.join("record.partial");
    write_private(&partial, &serde_json::to_vec(record)?)?;
    fs::rename(partial, dir.join(file::RECORD))
}

fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text)
}

fn hosts(spec: &ContainerSpec, hostname: &str) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
        .to_owned();
    if let Some(address) = spec.address {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    for (ip, name) in &spec.hosts {
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    text
}
