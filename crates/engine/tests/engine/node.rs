//! A node of one test: an engine with directories and cgroups of its own, removed at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use swarm_engine::{
    Container, ContainerSpec, Engine, EngineConfig, ExitStatus, LogOptions, Phase, RemoveVolumes,
    Rootfs,
};

/// No single step of a test takes longer.
pub const DEADLINE: Duration = Duration::from_secs(20);

const APPLETS: &[&str] = &[
    "cat", "chmod", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls",
    "mknod", "readlink", "mkdir", "mount", "ps", "seq", "sh", "sleep", "stat", "tail", "touch",
    "true", "umount", "unshare", "wc", "yes",
];

pub struct Node {
    pub engine: Engine,
    pub config: EngineConfig,
    layer: PathBuf,
    // Removed last.
    dir: tempfile::TempDir,
}

/// Opens a node, or says why the machine cannot.
pub async fn node() -> Option<Node> {
    let busybox = Path::new("/bin/busybox");
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 || !busybox.exists() {
        println!("skipped: needs root and the package busybox-static");
        return None;
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = tempfile::tempdir().unwrap();
    let layer = dir.path().join("layer");
    std::fs::create_dir_all(layer.join("bin")).unwrap();
    std::fs::copy(busybox, layer.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    std::fs::create_dir(layer.join("etc")).unwrap();
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n";
    std::fs::write(layer.join("etc/passwd"), passwd).unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:\nwww:x:34:\nssl:x:110:web\n").unwrap();
    std::fs::create_dir_all(layer.join("data/sub")).unwrap();
    std::fs::write(layer.join("data/sub/file"), "from the image\n").unwrap();
    std::os::unix::fs::chown(layer.join("data"), Some(33), Some(34)).unwrap();
    let config = EngineConfig {
        root: dir.path().join("root"),
        run: dir.path().join("run"),
        shim: env!("CARGO_BIN_EXE_swarmd-shim").into(),
        cgroup_parent: format!("swarm-engine-test-{}-{number}", std::process::id()),
    };
    let engine = Engine::open(config.clone()).await.unwrap();
    Some(Node { engine, config, layer, dir })
}

impl Node {
    /// The test's own directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn rootfs(&self) -> Rootfs {
        Rootfs { id: "busybox".to_owned(), layers: vec![self.layer.clone()], ..Rootfs::default() }
    }

    pub async fn create(&self, spec: ContainerSpec) -> Container {
        self.engine.create_on(spec, self.rootfs()).await.unwrap()
    }

    /// Creates and starts.
    pub async fn run(&self, spec: ContainerSpec) -> Container {
        let container = self.create(spec).await;
        self.engine.start(&container.id).await.unwrap();
        container
    }

    /// Runs to the end; the status and all output.
    pub async fn finish(&self, spec: ContainerSpec) -> (ExitStatus, String) {
        let container = self.run(spec).await;
        let status = self.wait(&container).await;
        (status, self.output(&container).await)
    }

    pub async fn wait(&self, container: &Container) -> ExitStatus {
        let wait = self.engine.wait(&container.id);
        tokio::time::timeout(DEADLINE, wait).await.expect("ends in time").unwrap()
    }

    pub async fn output(&self, container: &Container) -> String {
        let lines = self.engine.logs(&container.id, LogOptions::default()).unwrap();
        let lines: Vec<_> = lines.collect().await;
        let text = |line: std::io::Result<swarm_engine::LogLine>| {
            String::from_utf8_lossy(&line.unwrap().data).into_owned() + "\n"
        };
        lines.into_iter().map(text).collect()
    }

    /// Waits until the container has written `text`.
    pub async fn said(&self, container: &Container, text: &str) {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut lines = self.engine.logs(&container.id, options).unwrap();
        let search = async {
            while let Some(line) = lines.next().await {
                if String::from_utf8_lossy(&line.unwrap().data).contains(text) {
                    return;
                }
            }
            panic!("{text:?} was never written");
        };
        tokio::time::timeout(DEADLINE, search).await.expect("is written in time");
    }

    /// Another engine on the same directories, as after a restart of the daemon.
    pub async fn reopen(&mut self) {
        self.engine = Engine::open(self.config.clone()).await.unwrap();
    }

    /// Stops and removes everything.
    pub async fn clear(&self) {
        for state in self.engine.list() {
            if state.phase == Phase::Running {
                self.engine.stop(&state.id, None, Some(Duration::ZERO)).await.unwrap();
            }
            self.engine.remove(&state.id, RemoveVolumes::Anonymous).await.unwrap();
        }
    }

    /// Cgroups of this node that exist.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let parents = swarm_engine::cgroup::directories(&self.config.cgroup_parent);
        let children = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
        parents
            .into_iter()
            .flat_map(children)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Also after a failed test: end the containers, then remove their groups.
        for group in self.cgroups() {
            let name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = format!("/{}/{name}", self.config.cgroup_parent);
            swarm_engine::cgroup::kill(&path);
            let _ = swarm_engine::cgroup::remove(&path);
        }
        let _ = swarm_engine::cgroup::remove(&self.config.cgroup_parent);
    }
}

/// A container that runs a shell line.
pub fn sh(line: &str) -> ContainerSpec {
    let cmd = ["sh", "-c", line].map(str::to_owned).to_vec();
    ContainerSpec { cmd, ..ContainerSpec::default() }
}
